"""Every test errs as rarely as it says, on families whose truth is known; and the page says what the script measures."""

import re
from pathlib import Path

import pytest

import error_rates

PAGE = Path(__file__).parents[2] / "docs" / "error-rates.md"
FEW = {
    "identities": 40,
    "orders": 40,
    "spinodals": 60,
    "ladders": 40,
    "correlations": 12,
    "places": 6,
    "searches": 4,
    "chains": 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FEW))
def test_few_families_keep_what_is_stated(name: str) -> None:
    rates = list(error_rates.SECTIONS[name][1](FEW[name]))
    assert rates
    assert [each for each in rates if not each.kept] == []
    # Without a stated share: orders are right, jumps and kinks are found.
    least = {"identities": 0.8, "orders": 0.9, "correlations": 0.2}.get(name, 0.0)
    assert min((each.found for each in rates if each.most is None and each.least is None), default=1.0) >= least


def test_a_rate_beyond_two_standard_errors_is_not_kept() -> None:
    assert error_rates.Rate("t", "x", 0.07, 400, most=0.05).kept
    assert not error_rates.Rate("t", "x", 0.08, 400, most=0.05).kept
    assert not error_rates.Rate("t", "x", 0.92, 400, least=0.95).kept
    assert not error_rates.Rate("t", "x", 0.01, 400, most=0.0).kept


def test_the_page_has_every_table_and_nothing_that_is_not_kept(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, (title, _) in error_rates.SECTIONS.items():
        section = re.search(rf"<!-- {name} -->(.*?)<!-- end -->", text, re.DOTALL)
        assert section is not None
        assert f"## {title}" in section[1]
    assert "✗" not in text
    page = tmp_path / "page.md"
    assert error_rates.main(["--page", str(page), "--only", "spinodals", "--families", "20"]) == 0
    assert "the bounds of a spinodal" in page.read_text(encoding="utf-8")
