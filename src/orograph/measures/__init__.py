"""The field's measures of one point by their names, as commands and runs take them, and all numbers of a minimum at once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
