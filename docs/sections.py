"""Sections that code writes into a page, each between its own markers, so that the text around them stays."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path


def insert(page: Path, name: str, text: str, *, title: str) -> None:
    """Writes a section between `<!-- NAME -->` and `<!-- end -->`, appended where they are missing."""
    marker, end = f"<!-- {name} -->\n", "<!-- end -->\n"
    old = page.read_text(encoding="utf-8") if page.exists() else f"# {title}\n"
    if marker not in old:
        old = f"{old.rstrip()}\n\n{marker}{end}"
    before, _, rest = old.partition(marker)
    page.write_text(f"{before}{marker}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | str | None, pattern: str = "{:.3g}") -> str:
    """A dash where there is none: JSON has infinities and NaN as words."""
    return "–" if value is None or isinstance(value, str) else pattern.format(value)


def pictures(run: Path, images: Path, names: Iterable[str]) -> list[str]:
    """Copies the pictures of a run that exist, and links them."""
    images.mkdir(parents=True, exist_ok=True)
    found = []
    for name in names:
        source = run / "figures" / f"{name}.png"
        if source.is_file():
            copy = images / f"{run.name}-{name}.png"
            shutil.copyfile(source, copy)
            found.append(f"![{name} of {run.name}](images/{copy.name})")
    return found
