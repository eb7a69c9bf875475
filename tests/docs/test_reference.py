"""The reference: every public name stands on a page, and the site's own parser finds each argument and what is returned. What
`orograph` itself offers has an example of at most five lines, which is run.

Independent of the code: docstrings are parsed by griffe, as the site does, and signatures are its own reading of the source.
"""

import dataclasses
import doctest
import importlib
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
    if not (SOURCE.parent / package.replace(".", "/") / name).is_dir()  # a package, which stands here itself
]


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


def documented(thing: griffe.Object, section: Section) -> set[str]:
    """The names in a section of a docstring."""
    sections = thing.docstring.parsed if thing.docstring else []
    return {entry.name.lstrip("*") for found in sections if found.kind is section for entry in found.value}


def has_section(thing: griffe.Object, section: Section) -> bool:
    return any(found.kind is section for found in (thing.docstring.parsed if thing.docstring else []))


def arguments(function: griffe.Function) -> set[str]:
    return {parameter.name for parameter in function.parameters} - {"self", "cls"}


def look_up(library: griffe.Module, path: str) -> griffe.Class | griffe.Function:
    thing = library[path.removeprefix("orograph.")]
    return thing.final_target if thing.is_alias else thing


@pytest.mark.parametrize("path", PUBLIC)
def test_the_sites_parser_finds_every_argument_and_what_is_returned(library: griffe.Module, path: str) -> None:
    thing = look_up(library, path)
    if thing.is_function:
        assert arguments(thing) <= documented(thing, Section.parameters)
        nothing = str(thing.returns) in ("None", "Iterator[None]")
        assert nothing or has_section(thing, Section.returns)
        return
    package, name = path.rsplit(".", 1)
    kind = getattr(importlib.import_module(package), name)
    if dataclasses.is_dataclass(kind):
        assert {field.name for field in dataclasses.fields(kind)} <= documented(thing, Section.attributes)
    elif hasattr(kind, "model_fields"):  # settings describe their fields for the command line's help
        assert all(field.description or hasattr(field.annotation, "model_fields") for field in kind.model_fields.values())
    elif "__init__" in thing.all_members:  # its own, or what a base's says of them
        made = thing.all_members["__init__"]
        assert arguments(made) <= documented(thing, Section.parameters) | documented(made, Section.parameters)


NAMES = [path.removeprefix("orograph.") for path in PUBLIC if path.count(".") == 1]
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name == "open_run" else []) for name in NAMES]  # a sweep


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
        package, name = path.rsplit(".", 1)
        short = f"orograph.{name}" in on_pages and getattr(orograph, name) is getattr(importlib.import_module(package), name)
        assert path in on_pages or short, path


def test_the_groups_of_orographs_names_are_pages() -> None:
    stub = (SOURCE / "__init__.pyi").read_text(encoding="ascii")
    groups = re.findall(r"^# (\w[^\n]*)\n((?:from \.\w[^\n]*\n)+)", stub, re.MULTILINE)
    assert len(groups) == 6
    titles = {text.partition("\n")[0].removeprefix("# "): text for text in PAGES.values()}
    for title, names in groups:
        page = titles[title.partition(":")[0]]
        for name in re.findall(r"as (\w+)$", names, re.MULTILINE):
            assert f"::: orograph.{name}\n" in page, name
