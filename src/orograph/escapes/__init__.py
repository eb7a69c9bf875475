"""Escape from metastable states: first passages of stochastic gradient descent, their survival, their rates, and which law
these follow."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
