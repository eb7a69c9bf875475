"""Orograph measures and maps the loss landscapes of neural networks.

The library's face: operators of curvature for any module, loss and data; what is computed from them; named data and models; runs.
Names stand in `__init__.pyi` beside this file, here and in every package, and are imported when first used, so that
`import orograph` is quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
