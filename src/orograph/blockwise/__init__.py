"""Curvature by blocks of parameters: tensors, modules, or named groups of them; and what couples the blocks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
