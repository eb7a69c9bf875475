"""What the library offers by name: every name is the thing itself, in whatever order modules are imported, and costs nothing
before it is used.

Independent of the packages' own lists: names are looked up in fresh interpreters, and homes are read from the stubs as text.
"""

import ast
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import orograph

SOURCE = Path(orograph.__file__).parent
PACKAGES = sorted(stub.parent.relative_to(SOURCE.parent).as_posix().replace("/", ".") for stub in SOURCE.rglob("__init__.pyi"))
FUNCTIONS = {"sweep", "study"}  # of `orograph`, whose implementations are packages of these names
LIBRARY = [
    "atlas",
    "data",
    "models",
    "settings",
    "curvature",
    "spectral",
    "training",
    "geometry",
    "blockwise",
    "response",
    "degeneracy",
    "measures",
    "connectivity",
    "topology",
    "continuation",
    "escapes",
    "ladder",
    "store",
    "figures",
]


def exports(package: str) -> dict[str, str]:
    """The names in a package's stub, and the module that each comes from."""
    stub = (SOURCE.parent / package.replace(".", "/") / "__init__.pyi").read_text(encoding="ascii")
    return {
        alias.name: f"{package}.{node.module}" if node.module else package
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def packages_in(package: str) -> set[str]:
    """What `orograph` offers beside names: the packages of the library."""
    return set(LIBRARY) if package == "orograph" else set()


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_package_of_the_library_offers_its_names() -> None:
    assert set(PACKAGES) == {"orograph", *(f"orograph.{name}" for name in LIBRARY)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_a_function_or_a_class_or_a_package_and_no_module(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(exports(package)) == sorted(module.__all__) == sorted(dir(module))
    for name in set(module.__all__) - packages_in(package):
        found = getattr(module, name)
        assert callable(found) or name == "METRICS"
        assert not isinstance(found, types.ModuleType)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_of_a_package_has_the_name_of_something_that_the_package_offers(package: str) -> None:
    folder = SOURCE.parent / package.replace(".", "/")
    modules = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert packages_in(package) <= set(exports(package))
    assert not modules & (set(exports(package)) - packages_in(package)) - (FUNCTIONS if package == "orograph" else set())


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import orograph.{name}.settings", "import orograph as og; og.{name}"])
def test_a_function_named_as_a_package_stays_one_whichever_is_imported_first(first: str) -> None:
    check = "import orograph.{name}.settings; from orograph.experiments import {name} as own; import orograph as og; "
    check += "assert og.{name} is own; from orograph.{name} import command; assert og.{name} is own; print('{name}')"
    code = "; ".join(f"{first}; {check}".format(name=name) for name in sorted(FUNCTIONS))
    assert python(code).split() == sorted(FUNCTIONS)


@pytest.mark.slow
def test_packages_are_at_hand_after_import_orograph() -> None:
    wanted = "; ".join(f"assert og.{name}.__name__ == 'orograph.{name}'" for name in LIBRARY)
    assert python(f"import orograph as og; {wanted}; print(og.figures.class_shares.__module__)") == "orograph.figures.shares\n"


@pytest.mark.slow  # that no module has a name's name, which is tested above, is what makes it true
@pytest.mark.parametrize("modules_first", [True, False])
def test_names_are_the_same_whichever_is_imported_first(modules_first: bool) -> None:
    homes = [(package, name, home) for package in PACKAGES for name, home in exports(package).items()]
    modules = "for _, _, home in homes: importlib.import_module(home)\n"
    names = "for package, name, _ in homes: getattr(importlib.import_module(package), name)\n"
    check = (
        "for package, name, home in homes:\n"
        "    assert getattr(importlib.import_module(package), name) is getattr(importlib.import_module(home), name), name\n"
    )
    python(f"import importlib\nhomes = {homes}\n" + (modules + names if modules_first else names + modules) + check)


def test_what_orograph_offers_is_what_its_packages_offer() -> None:
    for name, home in exports("orograph").items():
        assert getattr(orograph, name) is getattr(importlib.import_module(home), name)


def test_importing_orograph_and_its_packages_imports_nothing_heavy() -> None:
    code = f"import sys\nfor name in {PACKAGES}: __import__(name)\nprint(*sys.modules)"
    loaded = set(python(code, EAGER_IMPORT="").split())
    assert not loaded & {"torch", "numpy", "scipy", "matplotlib", "xarray", "pydantic", "pandas"}


@pytest.mark.slow
def test_everything_can_be_imported_at_once() -> None:
    assert "torch" in python("import sys, orograph; print(*sys.modules)", EAGER_IMPORT="1").split()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="lanczso"):
        _ = orograph.lanczso  # type: ignore[attr-defined]
