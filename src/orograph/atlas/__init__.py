"""The atlas: branches, ladders and their jumps joined into one graph of critical points."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
