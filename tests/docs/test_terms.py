"""One spelling a term, no misspelt word, and every name, flag and page that the text speaks of is there.

Independent of the code: the pages are read as text; names are looked up in the library, flags in the commands' own help.
"""

import contextlib
import importlib
import re
from pathlib import Path

import pytest
from pages import DOCS

from orograph.cli import COMMANDS, main

ROOT = DOCS.parent
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
CODE = re.compile(r"^```.*?^```|<!--.*?-->|`[^`]*`|\]\([^)\s]*\)|https?://\S+|^::: \S+", re.DOTALL | re.MULTILINE)
QUOTING = ("awkward.md",)  # what torch says

TERMS = {  # as it is written here: as it is not
    "eigenpair, eigenvalue": r"[Ee]igen[- ](pair|value|vector)",
    "Gauss–Newton": r"Gauss[- ]Newton",
    "Fisher–Rao": r"Fisher-Rao",
    "Hessian-vector": r"Hessian[ –]vector",
    "Newton-CG": r"Newton[ –]CG",
    "mini-batch": r"[Mm]ini ?batch",
    "data set": r"\b[Dd]atasets?\b(?= (is|are|of|that|has|by))",
    "BatchNorm": r"[Bb]atch(-| )[Nn]orm|\bbatchnorm\b",
    "ReLU": r"\b(Relu|RELU)\b",
    "PyTorch": r"\b(Pytorch|(?<!-)pytorch)\b",
    "Bézier": r"\bBezier\b",
    "state dict": r"\bstate-dict\b",
    "float32": r"\b(fp32|FP32|float-32)\b",
    "optimiser": r"\b[Oo]ptimizers?\b",
    "-ise": r"\b\w*(normal|general|regular|initial|optim|penal|local|minim|maxim|linear|util|visual)iz(e|ed|es|ing|ation)\b",
    "-our, -re": r"\b([Bb]ehavior|[Cc]olors?|[Cc]enters?|[Nn]eighbors?|[Ll]abeled|[Mm]odeling)\b",
    "θ_ref": r"θ_(0|star|anchor)\b",
}


def prose(page: Path) -> str:
    """The text of a page without code, links and comments."""
    return CODE.sub(" ", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in QUOTING], ids=lambda page: page.stem)
def test_a_term_has_one_spelling(page: Path) -> None:
    text = prose(page)
    found = {term: [match.group() for match in re.finditer(wrong, text)] for term, wrong in TERMS.items()}
    assert not {term: words for term, words in found.items() if words}


def test_the_list_of_terms_finds_what_it_is_to_find() -> None:
    wrong = "eigen-pairs, Gauss-Newton, minibatches, Relu, pytorch, optimizers, normalized, neighbors, Bezier, the dataset is"
    assert sum(bool(re.search(pattern, wrong)) for pattern in TERMS.values()) == 10


@pytest.mark.slow
def test_no_word_is_misspelt() -> None:
    """Teh is a person, oint a word of LaTeX."""
    codespell = pytest.importorskip("codespell_lib")
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    assert codespell.main("--ignore-words-list", "worstcase,fro,teh,oint", *map(str, [*PAGES, *sources])) == 0


def exists(path: str) -> bool:
    """Whether the library has it: what it offers, a module of it, or what one holds."""
    names = path.split(".")
    for end in range(len(names), -1, -1):
        try:
            found: object = importlib.import_module(".".join(["orograph", *names[:end]]))
        except ModuleNotFoundError:
            continue
        with contextlib.suppress(AttributeError):
            for name in names[end:]:
                found = getattr(found, name)
            return True
    return False


def test_names_that_pages_speak_of_exist() -> None:
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # which speaks of what is gone
            continue
        for path in re.findall(r"(?<![\w.])(?:og|orograph)\.([a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*)", page.read_text(encoding="utf-8")):
            assert exists(path), f"{page.name}: {path}"


def test_commands_and_flags_that_pages_speak_of_exist(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"--help", "--debug", "--version"}
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known |= set(re.findall(r"--[a-z0-9][\w-]*", capsys.readouterr().out))
    for page in PAGES:
        if page.name in ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks.md"):  # flags of other programs
            continue
        for code in re.findall(r"`(--[a-z0-9][\w-]*)", page.read_text(encoding="utf-8")):
            assert code in known, f"{page.name}: {code}"


def test_every_page_is_linked_from_the_text_of_another() -> None:
    linked = set()
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                linked |= {(page.parent / target).resolve()} - {page}
    assert not [page for page in DOCS.rglob("*.md") if page.resolve() not in linked and page.name != "index.md"]
