"""The gallery shows every figure that there is, each with the lines that made it.

Independent of the code: the page is read as text, and figures are those that their package offers.
"""

import re

from pages import DOCS

from orograph import figures

TEXT = (DOCS / "gallery.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```python\n((?:(?!```).)*)```\n\n!\[[^\]]+\]\(images/gallery/(\w+)\.png\)", TEXT, re.DOTALL)
MADE = [(*re.findall(r"^figures\.(\w+)\(.*\.savefig\(\"(\w+)\.png\"\)$", code, re.MULTILINE), picture) for code, picture in SHOWN]


def test_each_figure_stands_below_the_lines_that_save_it() -> None:
    assert len(MADE) == TEXT.count("images/gallery/")
    assert not [made for made in MADE if len(made) != 2 or made[0][1] != made[1]]  # one figure a block, its picture below it


def test_every_figure_is_shown() -> None:
    assert {name for (name, _), _ in MADE} == set(figures.__all__) - {"save", "styled"}


def test_no_picture_is_left_over() -> None:
    assert {path.stem for path in (DOCS / "images" / "gallery").iterdir()} == {picture for _, picture in MADE}
