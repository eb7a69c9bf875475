"""How tests draw: figures are made everywhere, and rendered only where they are looked at, for that takes most of their time."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from matplotlib.figure import Figure

from orograph.figures import style

How = Literal["as users do", "coarsely", "blank"]
_RENDERERS = {name: getattr(style, name) for name in ("_png", "_pdf")}
_AS_USERS = {key: style.STYLE[key] for key in ("savefig.dpi", "pdf.fonttype")}
_COARSE = {"savefig.dpi": 40, "pdf.fonttype": 3}  # with fonts as they are
_DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")

now: How = "as users do"


def draw(how: How) -> None:
    """From now on."""
    global now
    now = how
    style.STYLE.update(_AS_USERS if how == "as users do" else _COARSE)
    for name, render in _RENDERERS.items():
        setattr(style, name, _blank if how == "blank" else render)


@contextmanager
def drawn(how: How) -> Iterator[None]:
    """Within it."""
    before = now
    draw(how)
    try:
        yield
    finally:
        draw(before)


def _blank(figure: Figure, buffer: io.BytesIO, metadata: dict[str, Any]) -> None:
    buffer.write(_DOT)
