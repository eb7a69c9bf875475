"""How degenerate a minimum is: local learning coefficients by Langevin chains, beside what the spectrum says of the same."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
