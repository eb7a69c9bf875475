"""The page of what works and what is refused is what its script writes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    specification = importlib.util.spec_from_file_location("awkward_page", DOCS / "awkward.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_page_has_a_row_for_each_case_and_each_sentence_once(script: ModuleType) -> None:
    found = {(name, function): "right" for name in ("one", "two") for function in script.FUNCTIONS}
    found["two", "align"] = found["two", "Fisher"] = "no * here; take 0.25 of it."
    text = script.page(found)
    assert "| one | ✓" in text
    assert text.count("take … of it.") == 1
    assert r"no \* here" in text
    row = next(line for line in text.splitlines() if line.startswith("| two"))
    assert [cell.strip() for cell in row.split("|")].count("1") == 2


def test_what_a_page_says_is_read_back(script: ModuleType) -> None:
    found = {(name, function): "right" for name in ("one", "two") for function in script.FUNCTIONS}
    found["two", "align"] = found["two", "Fisher"] = "no * here; take 0.25 of it."
    assert script.read(script.page(found)) == {
        key: text if text == "right" else script.plain(text) for key, text in found.items()
    }
