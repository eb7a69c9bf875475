"""The page of every number is what its script writes of the registry; what is held against generalisation is defined there, and
tested where it says. Names are counted in the page itself."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from orograph.measures.settings import MEASURES as NAMES
from orograph.store.lookup import ENTRIES
from orograph.store.measure_quantities import MEASURES
from orograph.study.settings import TOPOLOGY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs")
    specification = importlib.util.spec_from_file_location("measures_page", ROOT / "docs" / "measures.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_page_is_what_its_script_writes(tmp_path: Path) -> None:
    """In a process of its own: here tests have entered metrics of theirs."""
    page = tmp_path / "measures.md"
    subprocess.run([sys.executable, str(ROOT / "docs" / "measures.py"), "--page", str(page)], check=True)
    assert (ROOT / "docs" / "measures.md").read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_every_number_has_one_row_of_as_many_cells_as_its_table(script: ModuleType) -> None:
    lines = [line for line in script.page().splitlines() if line.startswith("| `")]
    found = [line.split("`")[1] for line in lines]
    assert sorted(found) == sorted(name for name in ENTRIES)
    assert {line.count("|") for line in lines} == {10, 5}


def test_what_is_held_against_generalisation_is_defined_and_tested(script: ModuleType) -> None:
    known = script.definitions()
    assert {name for name, each in (ENTRIES | MEASURES).items() if each.role == "metric"} <= set(known)
    assert {each["measure"] for each in known.values() if "measure" in each} == {*NAMES, TOPOLOGY}
    for name, each in known.items():
        path = ROOT / each["truth"]
        assert re.search(r"^def test_", path.read_text(encoding="utf-8"), re.MULTILINE), name
        assert ENTRIES[name].error <= ("certificate" in each), name


def test_a_definition_of_what_there_is_not_is_refused(script: ModuleType, monkeypatch, tmp_path: Path) -> None:
    for text in ('[unheard_of]\nis = "x"\nrange = "any"\ncost = "none"\ntruth = "y"', '[trace]\nis = "x"'):
        (tmp_path / "some.toml").write_text(text)
        monkeypatch.setattr(script, "DEFINITIONS", tmp_path / "some.toml")
        with pytest.raises(ValueError, match="is no quantity, or its fields"):
            script.definitions()
