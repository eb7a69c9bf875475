"""Branches of critical points of L_eff(θ; λ) = L(θ) + λ‖θ − θ_ref‖², followed through folds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
