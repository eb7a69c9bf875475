"""The page of limits says the numbers that hold: those of the code and of the other pages.

Independent of the page: constants are the program's, counts are read from the pages that have them.
"""

import re

from pages import DOCS

from orograph.spectral import iteration

LIMITS = (DOCS / "limits.md").read_text(encoding="utf-8")


def test_as_many_kinds_as_the_table_of_refusals_has() -> None:
    (count,) = re.findall(r"lists (\d+) kinds", LIMITS)
    rows = re.findall(r"^\| .*\|$", (DOCS / "awkward.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert int(count) == len(rows) - 2  # a head and a rule


def test_the_search_for_copies_ends_where_it_is_said_to() -> None:
    assert f"{iteration._LARGE:,} parameters" in " ".join(LIMITS.split())
    assert f"at least {iteration._LEAST})" in " ".join(LIMITS.split())
    assert f"some {iteration._SHORT}·k products" in " ".join(LIMITS.split())


def test_intervals_hold_as_often_as_was_measured() -> None:
    table = (DOCS / "error-bars.md").read_text(encoding="utf-8")
    shares = [float(each) for line in re.findall(r"\| (\d+\.\d) to (\d+\.\d) \|", table) for each in line]
    low, high = (float(each) for each in re.findall(r"(\d+\.\d) to (\d+) %", LIMITS)[0])
    assert low == min(shares)
    assert high == round(max(shares))
