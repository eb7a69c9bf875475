"""Growth: exponents of powers that are known, work that PyTorch's own counter finds, and the script from end to end."""

import re
from pathlib import Path

import pytest
from test_benchmark_scripts import run

from floors import counted_flops, product_flops
from scaling import exponent
from subjects import GROWING, growing


def test_the_exponent_of_a_power_is_found_and_its_error_is_that_of_the_line() -> None:
    sizes = [10, 20, 40, 80]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == "1.50 ± 0.00"
    # A deviation of d at one end and −d, of the same logarithms, at the middle two and the other end: by hand, with x = 0 … 3,
    # residuals r of d·(1, −1, −1, 1) have no slope, so the error is √(Σr²/2 / Σ(x − x̄)²)/log 2 = d·√(2/5)/log 2.
    assert exponent(sizes, [size * 1.1**sign for size, sign in zip(sizes, (1, -1, -1, 1), strict=True)]) == "1.00 ± 0.09"
    assert exponent(sizes, [0, 1, 2, 3]) == "–"


@pytest.mark.parametrize("series", sorted(GROWING))
def test_what_grows_doubles_and_keeps_the_rest(series: str) -> None:
    for sizes in GROWING[series]:
        assert len(sizes) >= 4
        assert [2 * size for size in sizes[:-1]] == list(sizes[1:])
    first, last = (growing(series, size, True) for size in (GROWING[series][1][0], GROWING[series][1][-1]))
    assert (first.count == last.count) == (series != "samples")
    assert (first.size == last.size) == (series in ("samples", "pairs"))


@pytest.mark.parametrize("series", ["samples", "width", "layers"])
def test_the_floor_has_the_matrix_products_of_the_network(series: str) -> None:
    case = growing(series, GROWING[series][1][2], True)
    assert counted_flops(case.module, case.inputs, case.targets)[0] == product_flops(case.sizes, case.count)


@pytest.mark.slow
def test_the_script_fits_exponents_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    options = ("--quick", "--only", "vocabulary", "--folder", str(tmp_path / "cells"))
    text = run("scaling.py", *options, page=tmp_path / "page.md")
    line = r"^\| vocabulary V, of a GPT block \| 32 … 256 \|( [^|]+ \| -?[0-9.]+ ± [0-9.]+ \|){2}"
    assert re.search(line, text, re.MULTILINE)
    cells = {file: file.stat().st_mtime_ns for file in (tmp_path / "cells" / "quick").iterdir()}
    assert len(cells) == 4
    (tmp_path / "cells" / "quick" / "vocabulary-64.json").unlink()
    assert run("scaling.py", *options, page=tmp_path / "page.md").count("| vocabulary ") == 6
    again = {file: file.stat().st_mtime_ns for file in (tmp_path / "cells" / "quick").iterdir()}
    assert [file.name for file in cells if again[file] != cells[file]] == ["vocabulary-64.json"]
