"""One look for all figures: quiet axes, a palette that colour-blind readers can tell apart, vector-friendly fonts."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from orograph.process import no_garbage
from orograph.store.atomic import write_bytes

# Okabe & Ito (2008), ordered so that neighbours differ in lightness as well and survive greyscale.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_EMBEDDED: Any = {"pdf.fonttype": 42}
STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.prop_cycle": cycler(color=PALETTE),
    **_EMBEDDED,
}


class Picture(Figure):
    """A matplotlib figure as the functions of this package return it.

    A notebook shows it where it is the last line of a cell, and what it saves has its fonts embedded as TrueType, which journals
    ask for and editors can change.
    """

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As of any figure.

        Args:
            *arguments: as matplotlib takes them: the file.
            **options: likewise.
        """
        with mpl.rc_context(_EMBEDDED), _silent_fonts():
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are drawn without a display and in this style."""
    with mpl.rc_context(STYLE):
        yield


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.pdf` atomically, the same bytes for the same figure.

    Args:
        figure: a matplotlib figure.
        stem: path without a suffix; its folder is made if need be.

    Returns:
        The two paths.
    """
    written, dpi, stem = [], figure.dpi, Path(stem)
    figure.set_dpi(STYLE["savefig.dpi"])
    for suffix, written_by, metadata in ((".png", _png, {"Software": None}), (".pdf", _pdf, {"CreationDate": None})):
        buffer = io.BytesIO()
        with styled(), no_garbage(), _silent_fonts():
            written_by(figure, buffer, metadata)
        figure.set_layout_engine("none")  # both with the layout of the first, which takes half of the time
        path = stem.with_name(f"{stem.name}{suffix}")  # a point in a name is no ending
        write_bytes(path, buffer.getvalue())
        written.append(path)
    figure.set_dpi(dpi)
    return written


@contextmanager
def _silent_fonts() -> Iterator[None]:
    """fontTools tells every program that logs what it leaves out of a font."""
    log = logging.getLogger("fontTools")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


# `savefig` would draw everything twice, once for the layout, which a single drawing finds as well.
def _png(figure: Figure, buffer: io.BytesIO, metadata: dict[str, Any]) -> None:
    FigureCanvasAgg(figure).print_png(buffer, metadata=metadata)


def _pdf(figure: Figure, buffer: io.BytesIO, metadata: dict[str, Any]) -> None:
    FigureCanvasPdf(figure).print_pdf(buffer, metadata=metadata)
