"""The reference: every public name stands on a page, and the site's own parser finds each argument and what is returned. What
`orograph` itself offers has an example of at most five lines, which is run.

Independent of the code: docstrings are parsed by griffe, as the site does, and signatures are its own reading of the source.
"""

import dataclasses
import doctest
import importlib
import inspect
import re
from pathlib import Path

import griffe
import pytest
import yaml
from griffe import DocstringSectionKind as Section

import orograph

SOURCE = Path(orograph.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")}
PACKAGES = ["orograph", *(f"orograph.{stub.parent.name}" for stub in sorted(SOURCE.glob("*/__init__.pyi")))]
PUBLIC = [
    f"{package}.{name}"
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if not inspect.ismodule(getattr(importlib.import_module(package), name))  # a package, which stands here itself
]
TABLES = ["orograph.METRICS"]
DESCRIBED = [path for path in PUBLIC if path not in TABLES]
# Where the parser, which knows modules only by their names, sees the package of the same name instead.
HOMES = {f"orograph.{name}": f"orograph.experiments.{name}" for name in ("sweep", "study")}


def exported(path: str) -> object:
    package, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(package), name)


@pytest.fixture(scope="session")
def library() -> griffe.Module:
    """The source as the site's parser reads it, with the site's options."""
    site = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    options = next(plugin["mkdocstrings"] for plugin in yaml.safe_load(site)["plugins"] if "mkdocstrings" in plugin)
    options = options["handlers"]["python"]["options"]
    found = griffe.load(
        "orograph",
        search_paths=[SOURCE.parent],
        docstring_parser=options["docstring_style"],
        docstring_options={**options["docstring_options"], "warnings": False},
    )
    assert isinstance(found, griffe.Module)
    return found


def described(thing: griffe.Object, section: Section) -> dict[str, str]:
    """The texts in a section of a docstring, by name."""
    sections = thing.docstring.parsed if thing.docstring else []
    return {entry.name.lstrip("*"): entry.description for found in sections if found.kind is section for entry in found.value}


def arguments(function: griffe.Function) -> set[str]:
    return {parameter.name for parameter in function.parameters} - {"self", "cls"}


ARRAY = re.compile(r"\w+\[(?:\w+\.)?(?:Tensor|ndarray), ['\"] ?([^'\"]*)['\"]\]")


def lacks(function: griffe.Function) -> list[str]:
    """What a function's docstring does not say of its arguments and of what it returns; of arrays, their shape."""
    texts = {section: described(function, section) for section in (Section.parameters, Section.returns)}
    asked = {
        name: (str(function.parameters[name].annotation), texts[Section.parameters].get(name)) for name in arguments(function)
    }
    if str(function.returns) not in ("None", "Iterator[None]"):
        asked["what is returned"] = (str(function.returns), " ".join(texts[Section.returns].values()) or None)
    missing = [name for name, (_, text) in asked.items() if text is None]
    shapeless = [name for name, (kind, text) in asked.items() if text and ARRAY.search(kind) and "`(" not in text]
    return [*missing, *(f"the shape of {name}" for name in shapeless)]


def methods(kind: griffe.Class) -> list[griffe.Function]:
    """The public ones, inherited from classes of this library too."""
    found = [each.final_target if each.is_alias else each for name, each in kind.all_members.items() if not name.startswith("_")]
    return [each for each in found if isinstance(each, griffe.Function)]


def look_up(library: griffe.Module, path: str) -> griffe.Class | griffe.Function:
    thing = library[HOMES.get(path, path).removeprefix("orograph.")]
    return thing.final_target if thing.is_alias else thing


@pytest.mark.parametrize("path", DESCRIBED)
def test_the_sites_parser_finds_every_argument_and_what_is_returned(library: griffe.Module, path: str) -> None:
    thing = look_up(library, path)
    if isinstance(thing, griffe.Function):
        assert not lacks(thing)
        return
    kind = exported(path)
    if dataclasses.is_dataclass(kind):
        texts = described(thing, Section.attributes)
        assert {field.name for field in dataclasses.fields(kind)} <= set(texts)
        arrays = [name for name in texts if name in thing.members and ARRAY.search(str(thing.members[name].annotation))]
        assert all("`(" in texts[name] for name in arrays)
    elif hasattr(kind, "model_fields"):  # settings describe their fields for the command line's help
        assert all(field.description or hasattr(field.annotation, "model_fields") for field in kind.model_fields.values())
    elif "__init__" in thing.all_members:  # its own, or what a base's says of them
        made = thing.all_members["__init__"]
        assert arguments(made) <= set(described(thing, Section.parameters) | described(made, Section.parameters))


@pytest.mark.parametrize("path", [path for path in PUBLIC if inspect.isclass(exported(path))])
def test_so_it_does_of_every_public_method(library: griffe.Module, path: str) -> None:
    thing = look_up(library, path)
    assert isinstance(thing, griffe.Class)
    assert not {method.path: lacking for method in methods(thing) if (lacking := lacks(method))}


NAMES = [path.removeprefix("orograph.") for path in DESCRIBED if path.count(".") == 1]
RUNS = ("open_run", "sweep", "study", "analyze", "escape")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in RUNS else []) for name in NAMES]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_examples_of_at_most_five_lines_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = getattr(orograph, name).__doc__.partition("Examples:\n")[2]
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert 1 <= sum(step.source.count("\n") for step in example.examples) <= 5
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)


def test_every_public_name_stands_on_a_page() -> None:
    on_pages = {path for text in PAGES.values() for path in re.findall(r"^::: (\S+)", text, re.MULTILINE)}
    for path in PUBLIC:
        name = path.rpartition(".")[2]
        short = f"orograph.{name}" in on_pages and getattr(orograph, name) is exported(path)
        assert HOMES.get(path, path) in on_pages or short, path


def test_the_groups_of_orographs_names_are_pages() -> None:
    stub = (SOURCE / "__init__.pyi").read_text(encoding="ascii")
    groups = re.findall(r"^# (\w[^\n]*)\n((?:from \.\w[^\n]*\n)+)", stub, re.MULTILINE)
    assert len(groups) == 12
    titles = {text.partition("\n")[0].removeprefix("# "): text for text in PAGES.values()}
    for title, names in groups:
        page = titles[title.partition(":")[0]]
        for name in re.findall(r"as (\w+)$", names, re.MULTILINE):
            assert f"::: {HOMES.get(f'orograph.{name}', f'orograph.{name}')}\n" in page, name
