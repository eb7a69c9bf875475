"""The topology of a computed surface: its minima, where their basins meet, its holes, and what any other plane has of that."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
