"""Writes `docs/reference/all.md`: every public name with its signature, what it is, its fields and methods, and its example.

.venv/bin/python docs/listing.py --page docs/reference/all.md

The pages of the reference name what they show and are filled when the site is built; this one can be read without building
anything. Names and their order are those of these pages, docstrings are parsed as the site does.
"""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import griffe
import yaml
from griffe import DocstringSectionKind as Section
from griffe import ParameterKind as Kind

DOCS = Path(__file__).parent
LONGEST = 100  # of a signature on one line

TEXT = """# All on one page

Every public name with its signature, what it is and an example, for reading without a built site; arguments, shapes, formulas and
sources stand on the pages of the reference, and in `help(…)`. `docs/listing.py` writes this page from the docstrings, and a
test holds it against them.
"""


def whole() -> str:
    """The page as Markdown."""
    library = parsed()
    parts = [TEXT]
    for page, title, paths in groups():
        parts.append(f"\n## [{title}]({page})\n")
        parts += [entry(library, path) for path in paths]
    return "\n".join(parts)


def parsed() -> griffe.Module:
    """The source as the site's parser reads it."""
    site = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    handler = next(plugin["mkdocstrings"] for plugin in site["plugins"] if "mkdocstrings" in plugin)["handlers"]["python"]
    options = handler["options"]
    found = griffe.load(
        "orograph",
        search_paths=[DOCS.parent / path for path in handler["paths"]],
        docstring_parser=options["docstring_style"],
        docstring_options={**options["docstring_options"], "warnings": False},
    )
    assert isinstance(found, griffe.Module)
    return found


def groups() -> Iterator[tuple[str, str, list[str]]]:
    """The name and the title of each page of the reference, in the order of the menu, and what it shows: no modules."""
    menu = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [page for section in menu if "Reference" in section for named in section["Reference"] for page in named.values()]
    for page in pages[:-1]:  # the last is this one
        text = (DOCS / page).read_text(encoding="utf-8")
        paths = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
        shown = [path for path in paths if not inspect.ismodule(at(path))]
        yield Path(page).name, text.partition("\n")[0].removeprefix("# "), shown


def at(path: str) -> Any:
    """What a path leads to: a module, or what one holds."""
    package, _, name = path.rpartition(".")
    if package:
        holder = at(package)
        if hasattr(holder, name):
            return getattr(holder, name)
    return importlib.import_module(path)


def entry(library: griffe.Module, path: str) -> str:
    """One name."""
    found = library[path.removeprefix("orograph.")]
    thing = found.final_target if found.is_alias else found
    sections = thing.docstring.parsed if thing.docstring else []
    text = next((each.value for each in sections if each.kind is Section.text), "")
    lines = [f"### `{path}`", "", f"```py\n{signature(thing, path)}\n```", "", text.partition("\n\n")[0]]
    if fields := settings_of(path):
        lines += ["", *fields]
    for method in methods(thing):
        said = method.docstring.parsed[0].value.partition("\n\n")[0] if method.docstring else ""
        lines += ["" if not lines[-1].startswith("- ") else None, f"- `{called(method)}`: {' '.join(said.split())}"]
    examples = [code for each in sections if each.kind is Section.examples for _, code in each.value]
    if examples:
        lines += ["", "```pycon\n" + "\n".join(examples).strip() + "\n```"]
    return "\n".join(line for line in lines if line is not None) + "\n"


def signature(thing: griffe.Object, path: str) -> str:
    """How it is called; of a dataclass its fields, of a constant its value's kind."""
    name = path.rpartition(".")[2]
    if isinstance(thing, griffe.Function):
        result = f" -> {thing.returns}" if thing.returns is not None else ""
        return laid_out(name, written(thing), result)
    if isinstance(thing, griffe.Class):
        fields = [f"{each.name}: {each.annotation}" for each in thing.attributes.values() if "dataclass" in str(thing.decorators)]
        if fields := [each for each in fields if not each.startswith("_")]:
            return "\n    ".join([f"class {name}:", *fields])
        made = thing.all_members.get("__init__")
        made = made.final_target if made is not None and made.is_alias else made
        if isinstance(made, griffe.Function):
            return laid_out(f"class {name}", written(made), "")
        return f"class {name}"
    return f"{name}: {thing.annotation}"


def written(function: griffe.Function) -> list[str]:
    """Its arguments as they stand in the source, without `self`."""
    found: list[str] = []
    starred = False
    for each in function.parameters:
        if each.name in ("self", "cls"):
            continue
        if each.kind is Kind.keyword_only and not starred:
            found.append("*")
        starred = starred or each.kind in (Kind.keyword_only, Kind.var_positional)
        stars = {Kind.var_positional: "*", Kind.var_keyword: "**"}.get(each.kind, "")
        annotation = f": {each.annotation}" if each.annotation is not None else ""
        equals = " = " if annotation else "="
        default = f"{equals}{each.default}" if each.default is not None and not stars else ""
        found.append(f"{stars}{each.name}{annotation}{default}")
    return found


def called(method: griffe.Function) -> str:
    """A method with the names of its arguments alone."""
    if "property" in method.labels:
        return method.name
    names = [each.name for each in method.parameters if each.name not in ("self", "cls")]
    return f"{method.name}({', '.join(names)})"


def laid_out(name: str, arguments: Sequence[str], result: str) -> str:
    """On one line where it fits."""
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) <= LONGEST:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," if each != "*" else "    *," for each in arguments), f"){result}"])


def methods(thing: griffe.Object) -> list[griffe.Function]:
    """Its own public methods and properties."""
    if not isinstance(thing, griffe.Class):
        return []
    own = [each for name, each in thing.members.items() if not name.startswith("_")]
    return [each for each in own if isinstance(each, griffe.Function) or "property" in getattr(each, "labels", ())]


def settings_of(path: str) -> list[str]:
    """What settings say of their fields; nothing of anything else."""
    fields = getattr(at(path), "model_fields", None)
    if not isinstance(fields, dict):
        return []
    told = ((name, field) for name, field in fields.items() if field.description)
    return [f"- `{name}` = `{field.default!r}`: {field.description}" for name, field in told]


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--page", type=Path, default=DOCS / "reference" / "all.md", help="the page to write")
    options.parse_args(arguments).page.write_text(whole(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
