"""The figures, each a function that takes an opened run or its results and returns a matplotlib figure.

`orograph.figures.sweep(orograph.open_run("runs/demo"))` draws a sweep; `save` writes a figure as PNG and PDF in the one style
that all share.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
