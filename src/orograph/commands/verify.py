"""The command `orograph verify`: exactly solvable networks, and what this installation finds of them beside what is true."""

from dataclasses import asdict

import torch
from rich.console import Console
from rich.table import Table

from orograph.commands.settings import VerifySettings
from orograph.continuation.solvable import checks
from orograph.remarks import answer
from orograph.store.encoding import json_text
from orograph.work.progress import Working


def verify(settings: VerifySettings) -> int:
    """The command. Returns 0, or 1 where something that was found is not true."""
    console = Console(highlight=False, stderr=settings.json_output)
    with Working("exactly solvable networks", console=console, quiet=settings.quiet) as working:
        found = list(checks(getattr(torch, settings.dtype), say=working.say))
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
    console.print(table)
    console.print(f"{len(found) - wrong} of {len(found)} numbers are true.")
    return int(wrong > 0)
