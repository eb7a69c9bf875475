"""What products alone tell of a symmetric operator: eigenpairs, traces, densities, ranks, solutions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
