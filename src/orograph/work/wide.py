"""Tables of a terminal, in as many pieces as its width asks for: no number is cut or broken, and no column left out."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_READABLE = 18  # letters of a text that is wrapped no further unless its words are short


def show_table(table: Table, console: Console, *, keys: int = 1) -> None:
    """Prints a table as wide as the console at most.

    Columns aligned to the right are never wrapped, words of others never broken while they fit. Where columns do not fit beside
    each other, the table goes on below with its first columns repeated.

    Args:
        table: without a box.
        console: where to.
        keys: the first columns, which say what a row is of.
    """
    if table.title:
        console.print(table.title if isinstance(table.title, Text) else Text.from_markup(str(table.title)), style="italic")
    for place, piece in enumerate(_pieces(table, console, keys)):
        if place:
            console.print()
        console.print(piece)
    if table.caption:
        console.print(table.caption if isinstance(table.caption, Text) else Text(str(table.caption)), style="dim italic")


def _pieces(table: Table, console: Console, keys: int) -> Iterator[Table]:
    room = [_room(column, console, header=table.show_header) for column in table.columns]
    apart = max(table.padding[1] + table.padding[3], 1)
    least = [need for need, _ in room]
    start = min(keys, len(room))
    while True:
        chosen, end = list(range(min(keys, len(room)))), start
        width = sum(least[place] + apart for place in chosen)
        while end < len(room) and (end == start or width + least[end] <= console.width):
            width += least[end] + apart
            chosen.append(end)
            end += 1
        yield _piece(table, chosen, _widths([room[place] for place in chosen], console.width, apart))
        start = end
        if end >= len(room):
            return


def _room(column: Column, console: Console, *, header: bool) -> tuple[int, int]:
    """The least width of a column, and what it takes to have every cell on one line."""
    cells = [*([column.header] if header else []), *column.cells]
    found = [
        Measurement.get(
            console, console.options.update(max_width=10_000), console.render_str(cell) if isinstance(cell, str) else cell
        )
        for cell in cells
    ]
    word, line = (max((each[end] for each in found), default=0) for end in (0, 1))
    return (line, line) if column.justify == "right" else (max(word, min(line, _READABLE)), line)


def _widths(room: Sequence[tuple[int, int]], width: int, apart: int) -> list[int]:
    """What is left of the width goes to the columns that have use for it."""
    found = [least for least, _ in room]
    left = width - sum(found) - apart * (len(found) - 1)
    while left > 0 and (short := [place for place, (_, most) in enumerate(room) if found[place] < most]):
        for place in short[:left]:
            found[place] += 1
        left -= len(short[:left])
    while left < 0 and max(found) > 1:  # a word that is wider than everything
        found[found.index(max(found))] -= 1
        left += 1
    return found


def _piece(table: Table, chosen: Sequence[int], widths: Sequence[int]) -> Table:
    top, right, bottom, left = table.padding
    piece = Table(
        box=None,
        pad_edge=False,
        padding=(top, max(right + left, 1), bottom, 0),
        show_header=table.show_header,
        header_style=table.header_style,
    )
    for place, width in zip(chosen, widths, strict=True):
        column = table.columns[place]
        piece.add_column(
            column.header,
            justify=column.justify,
            no_wrap=column.justify == "right",
            overflow="fold",
            width=width,
            style=column.style,
        )
    for cells in zip(*(list(table.columns[place].cells) for place in chosen), strict=True):
        piece.add_row(*cells)
    return piece
