"""The command `orograph verify`: exactly solvable networks, and what runs of them find here beside what is true."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orograph.commands.settings import VerifySettings
from orograph.commands.solvable_checks import checks
from orograph.process import kept_state
from orograph.remarks import answer
from orograph.store.atomic import require_writable
from orograph.store.encoding import json_text
from orograph.work.progress import Working
from orograph.work.wide import show_table


def verify(settings: VerifySettings) -> int:
    """The command. Returns 0, or 1 where something that was found is not true."""
    console = Console(highlight=False, stderr=settings.json_output)
    if settings.out:
        require_writable(Path(settings.out))
    working = Working("exactly solvable networks", console=console, quiet=settings.quiet)
    with working, _folder(settings.out) as folder, kept_state():
        found = list(checks(folder, settings.dtype, say=working.say))
    wrong = sum(not check.passed for check in found)
    if settings.json_output:
        answer(json_text([{**asdict(check), "passed": check.passed} for check in found]))
        return int(wrong > 0)
    table = Table(box=None, pad_edge=False)
    for name in ("number", "found", "true", "allowed", ""):
        table.add_column(name, justify="left" if name in ("number", "") else "right", overflow="fold")
    for check in found:
        allowed = "exact" if check.tolerance == 0 else f"{check.tolerance:.0e}"
        verdict = "[green]✓[/green]" if check.passed else "[red]wrong[/red]"
        table.add_row(check.name, f"{check.found:.9g}", f"{check.true:.9g}", allowed, verdict)
    show_table(table, console)
    console.print(f"{len(found) - wrong} of {len(found)} numbers are true.")
    return int(wrong > 0)


@contextlib.contextmanager
def _folder(out: str | None) -> Iterator[Path]:
    """Where the runs are written: what was given, or a folder that is gone afterwards."""
    if out:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="orograph-verify-") as made:
        yield Path(made)
