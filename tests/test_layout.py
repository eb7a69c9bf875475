"""The house: which file may know which, and how large a room may be. Imports inside functions count."""

import ast
import pkgutil
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "orograph"
LINES = 400  # of one module
SHARE = 1 / 8  # of the source that one folder holds
SUFFIXES = (".py", ".js", ".css", ".html")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("orograph", exclude_type_checking_imports=True, cache_dir=None)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_circle_among_files(graph: grimp.ImportGraph) -> None:
    # raises CycleError, which names the circle
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


def test_sweep_and_study_do_not_know_each_other_and_work_knows_neither(graph: grimp.ImportGraph) -> None:
    for importer, imported in (
        ("sweep", "study"),
        ("study", "sweep"),
        ("work", "sweep"),
        ("work", "study"),
        ("work", "analysis"),
    ):
        assert graph.find_shortest_chain(f"orograph.{importer}", f"orograph.{imported}", as_packages=True) is None
    assert graph.find_shortest_chain("orograph.sweep", "orograph.work", as_packages=True)  # the question is asked rightly


def test_every_room_has_its_floor(graph: grimp.ImportGraph) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = {name.strip() for layer in layers for name in layer.split("|")}
    assert floors == graph.find_children("orograph") - {"orograph.__main__"}


def test_no_module_is_long() -> None:
    long = {path.relative_to(SOURCE).as_posix(): lines(path) for path in SOURCE.rglob("*.py") if lines(path) > LINES}
    assert not long


def test_no_folder_is_an_eighth_of_the_source() -> None:
    counts = {path: lines(path) for path in SOURCE.rglob("*") if path.suffix in SUFFIXES}
    for folder in {path.parent for path in counts} - {SOURCE}:
        inside = sum(count for path, count in counts.items() if path.is_relative_to(folder))
        assert inside <= SHARE * sum(counts.values()), (
            f"{folder.relative_to(SOURCE)} holds {inside} of {sum(counts.values())} lines"
        )


def test_messages_name_arguments_in_backticks() -> None:
    bare = re.compile(r"""Error\(\s*f?["'](\w+=['"]?\{|--[a-z])""")  # `name={value}`, or a flag of the command line
    for text in ('ConfigurationError(f"k={k} is', "RunError(f'--out {out}"):
        assert bare.search(text)
    found = {path.name: match[0] for path in SOURCE.rglob("*.py") if (match := bare.search(path.read_text()))}
    assert not found


def test_pages_name_what_there_is() -> None:
    for page in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for name in set(re.findall(r"(?<![.\w])orograph(?:\.[A-Za-z_]\w*)+", page.read_text())):
            assert pkgutil.resolve_name(name) is not None, f"{page.name} names {name}"
        for name in set(re.findall(r"`((?:\w+/)+\w+\.(?:py|pyi|md))`", page.read_text())):
            assert (ROOT / name).is_file() or (SOURCE / name).is_file(), f"{page.name} names {name}"


@pytest.mark.parametrize(
    "script", [path for folder in ("benchmarks", "docs", "examples", "scripts") for path in ROOT.glob(f"{folder}/*.py")]
)
def test_scripts_import_what_there_is(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orograph"):
            exec(ast.unparse(node), {})
