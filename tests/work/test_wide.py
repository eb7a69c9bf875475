"""Tables at any width: every word and number of every cell is there, whole."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from orograph.work.wide import show_table

HEADS = ["chain", "certificates", *(f"number{place}" for place in range(9))]


def shown(width: int) -> str:
    table = Table(box=None, pad_edge=False, caption="what a reader should know of these numbers, in a sentence or two")
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="right" if place > 1 else "left")
    for row in range(3):
        table.add_row(f"seed {row}", "498 minimum, 2 saddle, 1 undecided", *(f"{row}.{place:07d}e-05" for place in range(9)))
    text = io.StringIO()
    show_table(table, Console(file=text, width=width))
    return text.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_and_no_number_is_broken(width: int) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = text.split()
    for head in HEADS:
        assert head in words
    for row in range(3):
        assert all(f"{row}.{place:07d}e-05" in words for place in range(9))
    assert words.count("minimum,") == 3


def test_what_a_row_is_of_stands_in_every_piece() -> None:
    pieces = shown(60).split("\n\n")
    assert len(pieces) > 1
    assert all("seed 2" in piece for piece in pieces)
    assert len(shown(200).split("\n\n")) == 1
