"""Writes `docs/awkward.md`: what works on networks, losses and data as people bring them, and what is refused with what words.

.venv/bin/python docs/awkward.py --page docs/awkward.md

Every public function runs on every case of `tests/awkward/awkward_cases.py`. A cell is `✓` where the result is right beside a
truth in which the library has no part, and the number of a sentence below the table where it is refused. Anything else ends the
script.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sections import table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "awkward"))

from awkward_cases import CASES
from awkward_runs import FUNCTIONS, given_of, outcome

VERSION = "2.13"  # of PyTorch
TEXT = """# What works, and what is refused

People bring networks with padding, ties and caches, losses with weights and ignored labels, and data in many shapes. The table
is what every function gives on {count} such cases: **✓** is a result that is right beside a truth of its own (the module and the
loss as they were passed, in float64, with differences of gradients in place of second derivatives), and a number is a refusal,
whose sentence stands below. In each case parameters, buffers, inputs, modes and hooks are afterwards what they were.
`docs/awkward.py` writes this page, with PyTorch {version}, whom some sentences quote, and the tests hold every cell of it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--page", type=Path, default=Path("docs/awkward.md"), help="the page to write")
    chosen = options.parse_args(arguments)
    found, wrong = outcomes()
    for (name, function), error in wrong.items():
        print(f"{name}, {function}: {error}", file=sys.stderr)
    if wrong:
        return 1
    chosen.page.write_text(page(found), encoding="utf-8")
    return 0


def outcomes(names: Sequence[str] = tuple(CASES)) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """`right` or the sentence of the refusal, by case and function; and what is neither."""
    found, wrong = {}, {}
    for name in names:
        given = given_of(CASES[name])
        for function in FUNCTIONS:
            try:
                found[name, function] = outcome(CASES[name], given, function)
            except Exception as error:  # whatever it is, no page says it
                wrong[name, function] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return found, wrong


def page(found: Mapping[tuple[str, str], str]) -> str:
    """The page as Markdown."""
    names = list(dict.fromkeys(name for name, _ in found))
    sentences = list(dict.fromkeys(plain(text) for text in found.values() if text != "right"))

    def cell(text: str) -> str:
        return "✓" if text == "right" else str(sentences.index(plain(text)) + 1)

    rows = [[name, *(cell(found[name, function]) for function in FUNCTIONS)] for name in names]
    notes = "\n".join(f"{index}. {sentence}" for index, sentence in enumerate(sentences, start=1))
    return "\n".join(
        [TEXT.format(count=len(names), version=VERSION), table(["case", *FUNCTIONS], rows), "", "## The sentences", "", notes, ""]
    )


def read(text: str) -> dict[tuple[str, str], str]:
    """What a page says: `right` or a plain sentence, by case and function."""
    sentences = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {
        (name, function): "right" if cell == "✓" else sentences[cell]
        for name, *cells in rows[2:]
        for function, cell in zip(FUNCTIONS, cells, strict=True)
    }


def plain(sentence: str) -> str:
    """A sentence without numbers that depend on the machine, and with nothing that Markdown would take for markup."""
    text = re.sub(r"\d+(\.\d+)?e[-+]\d+|\d+\.\d+", "…", sentence)
    return re.sub(r"([*_<>|\[\]`])", r"\\\1", text)


if __name__ == "__main__":
    sys.exit(main())
