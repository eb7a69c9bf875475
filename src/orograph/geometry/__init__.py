"""What is measured at a minimum: sharpness, flatness, scalar curvature, classes; and how such numbers correlate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
