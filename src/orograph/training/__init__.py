"""Training, of one network and of many together; polishing to a critical point; what is observed on the way."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
