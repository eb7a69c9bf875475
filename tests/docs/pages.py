"""Reads code blocks out of Markdown pages and runs them as a reader would: shell lines as commands, Python in one session."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orograph.cli import COMMANDS, main, settings_of
from orograph.settings.configure import parse
from orograph.sweep.settings import PRESETS

DOCS = Path(__file__).parents[2] / "docs"
_FILE = re.compile(r"# (?P<name>\w+\.py)\n")
_BLOCK = re.compile(r"^(?:<!-- (?P<note>.*?) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; `note` is the HTML comment above it, which says why its commands are only checked and not run."""

    kind: str
    code: str
    note: str

    def commands(self) -> list[list[str]]:
        """The lines that begin with `orograph`, without that word; a comment at a line's end is not part of it."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [
            words[1:] for line in lines if (words := shlex.split(os.path.expandvars(line), comments=True))[:1] == ["orograph"]
        ]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["kind"], match["code"], match["note"] or "") for match in found]


def run(page: Path, fewer: Mapping[str, str] = MappingProxyType({})) -> None:
    """Runs a page's blocks, in the working directory; `fewer` replaces text in them by other that takes less time.

    Commands under a note are parsed only: an unknown flag or a value out of range still fails. A block that begins with the name
    of a file is that file.
    """
    session: dict[str, Any] = {"__name__": page.stem}
    found = blocks(page)
    for many, few in fewer.items():
        assert any(many in block.code for block in found), f"{page.name} has no {many}"
        found = [replace(block, code=block.code.replace(many, few)) for block in found]
    for block in found:
        if file := _FILE.match(block.code):
            Path(file["name"]).write_text(block.code, encoding="utf-8")
        elif block.kind == "python":
            exec(compile(block.code, str(page), "exec"), session)
        elif block.kind == "sh":
            for words in block.commands():
                if block.note:
                    check(words)
                else:
                    assert main(words) == 0, f"{page.name}: orograph {shlex.join(words)}"


def check(words: list[str]) -> None:
    """Whether a command and all its flags exist and go together."""
    command = words[0]
    assert command in [*COMMANDS, "completion"]
    if command != "completion":
        parse(settings_of(command), words[1:], command=command, description="", presets=PRESETS)
