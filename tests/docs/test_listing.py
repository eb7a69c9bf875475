"""The reference on one page is what its script writes of the docstrings, holds every public name, and its examples run; each page
of the reference begins with an example.

Independent of the script: names are those that the packages offer.
"""

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, blocks
from test_reference import HOMES, PUBLIC, exported

PAGES = sorted(page for page in (DOCS / "reference").glob("*.md") if page.name != "all.md")
TEXT = (DOCS / "reference" / "all.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_is_what_its_script_writes(tmp_path: Path) -> None:
    page = tmp_path / "all.md"
    subprocess.run([sys.executable, str(DOCS / "listing.py"), "--page", str(page)], check=True)
    assert page.read_text(encoding="utf-8") == TEXT, "run docs/listing.py"


def test_it_holds_every_public_name() -> None:
    shown = set(re.findall(r"^### `(orograph\.[\w.]+)`$", TEXT, re.MULTILINE))
    for path in PUBLIC:
        name = path.rpartition(".")[2]
        assert HOMES.get(path, path) in shown or f"orograph.{name}" in shown, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_of_the_reference_begins_with_an_example(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    first = next(block for block in blocks(page) if block.kind == "python")
    assert text.index(first.code) < text.index("\n::: ")
    assert "og." in first.code
    assert first.code.count("\n") <= 14


DEEP = [path for path in PUBLIC if path.count(".") > 1 and "Examples:\n" in (inspect.getdoc(exported(path)) or "")]
DEEP = [path for path in DEEP if not hasattr(importlib.import_module("orograph"), path.rpartition(".")[2])]


@pytest.mark.slow
@pytest.mark.parametrize("path", DEEP)
def test_examples_of_packages_run(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (exported(path).__doc__ or "").partition("Examples:\n")[2]
    example = doctest.DocTestParser().get_doctest(text, {}, path, None, None)
    assert 1 <= sum(step.source.count("\n") for step in example.examples) <= 8
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)
