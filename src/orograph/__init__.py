"""Orograph measures and maps the loss landscapes of neural networks.

The library's face: operators of curvature for any module, loss and data; what is computed from them; named data and models; runs.
Names stand in `__init__.pyi` beside this file, here and in every package, and are imported when first used, so that
`import orograph` is quick.
"""

import sys
import types

import lazy_loader


class _Face(types.ModuleType):
    """`orograph.sweep` and `orograph.study` are functions, also when the packages of these names have been imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in ("sweep", "study") and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
