"""Settings as frozen models, and how a command's are read from its arguments and files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
