"""What is declared is what is imported: no module needs what `pip install orograph` does not bring, and nothing is brought
for nothing.

Independent of the code: imports are read from the source, requirements from pyproject.toml; a fresh interpreter has no extras.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from orograph.cli import main
from orograph.commands import doctor

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "orograph"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_DEVELOPERS = {"dev", "docs"}
OF_MODULES = {"curvlinops": ["curvlinops-for-pytorch"]}  # where it is not installed, nothing tells whose it is
ELSEWHERE = {"cloudpickle", "hessian-eigenthings", "ipython"}  # told by an error of their own, or there where it is used


def names(requirements: list[str]) -> set[str]:
    """The packages that are required."""
    return {canonicalize_name(Requirement(text).name) for text in requirements}


CORE = names(PROJECT["dependencies"])
EXTRA = {name: names(needed) for name, needed in PROJECT["optional-dependencies"].items() if name not in OF_DEVELOPERS}


def imports(tree: ast.AST, *, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Top-level modules that a file imports, and whether only within a function; what only type checkers read is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0], inside
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imports(node, inside=inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.fixture(scope="module")
def imported() -> dict[tuple[str, bool], set[str]]:
    """By distribution, and whether only within a function: the files that import it."""
    of, found = packages_distributions(), dict[tuple[str, bool], set[str]]()
    for path in SOURCE.rglob("*.py"):
        for module, inside in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if module not in sys.stdlib_module_names and module != "orograph":
                (distribution,) = {canonicalize_name(name) for name in of.get(module, OF_MODULES.get(module, [module]))}
                found.setdefault((distribution, inside), set()).add(path.relative_to(SOURCE).as_posix())
    return found


def test_what_modules_import_when_they_are_imported_is_required(imported: dict[tuple[str, bool], set[str]]) -> None:
    assert {name: files for (name, inside), files in imported.items() if not inside and name not in CORE} == {}


def test_what_functions_import_is_required_or_an_extra(imported: dict[tuple[str, bool], set[str]]) -> None:
    known = CORE.union(ELSEWHERE, *EXTRA.values())
    assert {name: files for (name, _), files in imported.items() if name not in known} == {}


def test_what_is_required_is_imported(imported: dict[tuple[str, bool], set[str]]) -> None:
    assert CORE - {name for name, _ in imported} == set()


def test_an_extra_says_nothing_that_is_required_anyway() -> None:
    assert {name: needed & CORE for name, needed in EXTRA.items() if needed & CORE} == {}


WITHOUT = """
import importlib, importlib.machinery, pkgutil, sys
class Few(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {missing} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Few
import orograph
for module in pkgutil.walk_packages(orograph.__path__, "orograph."):
    if module.name != "orograph.__main__":
        importlib.import_module(module.name)
from orograph.data import load_data
print(len(load_data("digits").train_targets), len(load_data("mnist-5k").train_targets))
"""


@pytest.mark.slow
def test_every_module_is_imported_and_embedded_data_are_read_without_any_extra() -> None:
    of = packages_distributions()
    optional = set().union(*EXTRA.values(), ELSEWHERE, {"mlxtend", "scikit-learn"})
    missing = {module for module, found in of.items() if {canonicalize_name(name) for name in found} & optional}
    assert {"plotly", "sklearn"} <= missing
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(missing=missing)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1442", "4000"], done.stderr


def test_a_report_without_plotly_names_its_extra_before_it_reads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert "pip install 'orograph[report]'" in capsys.readouterr().err


def test_the_doctor_tells_what_an_extra_brought_or_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [
        "torch",
        "pytest; extra == 'here'",
        "numpy; extra == 'half'",
        "no-such-package; extra == 'half'",
        "x; extra == 'dev'",
    ]
    described = Message()
    for name in ("here", "half", "dev"):
        described["Provides-Extra"] = name
    monkeypatch.setattr(doctor, "requires", lambda name: needed)
    monkeypatch.setattr(doctor, "metadata", lambda name: described)
    told = [("here", f"pytest {pytest.__version__}", True), ("half", "not installed: pip install 'orograph[half]'", True)]
    assert doctor.extras() == told


def test_the_page_on_installing_has_every_extra() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [name for name in EXTRA if f"`{name}`" not in page] == []


def test_the_citation_is_of_this_version_and_has_a_date() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == PROJECT["version"]
    assert date.fromisoformat(cited["date-released"])
