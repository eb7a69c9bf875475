"""The command `orograph`: settings become flags, nothing else happens here.

Settings and what they start are imported when their command is given: `--help` is quick, and torch is imported only for work.
"""

import contextlib
import importlib
import io
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orograph.commands.descriptions import (
    ANALYZE_HELP,
    ATLAS_HELP,
    CARD_HELP,
    CONNECT_HELP,
    DOCTOR_HELP,
    ESCAPE_HELP,
    EXPORT_HELP,
    EXTEND_HELP,
    FOLLOW_HELP,
    IMPORT_HELP,
    JOIN_HELP,
    MEASURE_HELP,
    REDO_HELP,
    REPORT_HELP,
    STUDY_HELP,
    SWEEP_HELP,
    VERIFY_HELP,
    WATCH_HELP,
)
from orograph.errors import OrographError, shown, unknown
from orograph.process import keep_imports, no_garbage, out_of_memory
from orograph.remarks import aside, told

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Command:
    """One command: its line in the list, its help, and where its settings, function and presets live, as `module:name`."""

    summary: str
    description: str
    settings: str
    function: str
    presets: str = ""


COMMANDS = {
    "sweep": Command(
        "train and decompose along a ladder of strengths λ",
        SWEEP_HELP,
        "orograph.sweep.settings:SweepCommand",
        "orograph.sweep.command:sweep_command",
        "orograph.sweep.settings:PRESETS",
    ),
    "study": Command(
        "train and measure a grid of networks, and relate geometry to generalisation",
        STUDY_HELP,
        "orograph.study.settings:StudyCommand",
        "orograph.study.command:study_command",
    ),
    "measure": Command(
        "all numbers of one minimum",
        MEASURE_HELP,
        "orograph.commands.settings:MeasureSettings",
        "orograph.commands.measure:measure_checkpoint",
    ),
    "analyze": Command(
        "all that a finished sweep, or branches, show",
        ANALYZE_HELP,
        "orograph.analysis.settings:AnalyzeSettings",
        "orograph.commands.branch_analysis:analyze",
    ),
    "report": Command(
        "one HTML file that shows a whole run",
        REPORT_HELP,
        "orograph.report.settings:ReportSettings",
        "orograph.report.report:report",
    ),
    "watch": Command(
        "a run in progress, from another terminal",
        WATCH_HELP,
        "orograph.commands.settings:WatchSettings",
        "orograph.commands.watch:watch",
    ),
    "extend": Command(
        "further points or more eigenpairs of a sweep",
        EXTEND_HELP,
        "orograph.commands.settings:ExtendSettings",
        "orograph.commands.extending:extend_run",
    ),
    "redo": Command(
        "points of a sweep made again",
        REDO_HELP,
        "orograph.commands.settings:RedoSettings",
        "orograph.commands.redoing:redo",
    ),
    "join": Command(
        "sweeps that differ in their points made into one",
        JOIN_HELP,
        "orograph.commands.settings:JoinSettings",
        "orograph.commands.joining:join",
    ),
    "export": Command(
        "a run as a table or as labelled arrays",
        EXPORT_HELP,
        "orograph.commands.settings:ExportSettings",
        "orograph.commands.exporting:export",
    ),
    "import": Command(
        "artifacts made elsewhere as a run",
        IMPORT_HELP,
        "orograph.commands.settings:ImportSettings",
        "orograph.commands.importing:import_run",
    ),
    "card": Command(
        "the README with which a run is shared",
        CARD_HELP,
        "orograph.commands.settings:CardSettings",
        "orograph.commands.card:card",
    ),
    "doctor": Command(
        "versions, devices, threads, data found",
        DOCTOR_HELP,
        "orograph.commands.settings:DoctorSettings",
        "orograph.commands.doctor:doctor",
    ),
    "follow": Command(
        "branches of critical points, through folds",
        FOLLOW_HELP,
        "orograph.branches.settings:FollowCommand",
        "orograph.branches.command:follow_command",
    ),
    "atlas": Command(
        "branches, sweeps and their jumps as one graph",
        ATLAS_HELP,
        "orograph.atlas.settings:AtlasSettings",
        "orograph.atlas.command:atlas",
    ),
    "escape": Command(
        "how long SGD stays in a metastable state",
        ESCAPE_HELP,
        "orograph.escapes.settings:EscapeCommand",
        "orograph.escapes.command:escape_command",
    ),
    "connect": Command(
        "two minima by curves, with the barriers between them",
        CONNECT_HELP,
        "orograph.connections.settings:ConnectCommand",
        "orograph.connections.command:connect_command",
    ),
    "verify": Command(
        "exactly solvable networks: what is found beside what is true",
        VERIFY_HELP,
        "orograph.commands.settings:VerifySettings",
        "orograph.commands.verify:verify",
    ),
}
COMPLETION = "completion"
DEBUG = "--debug"
FAULT = 70  # the exit code of a fault of the program, as in sysexits.h


def settings_of(command: str) -> "type[BaseModel]":
    """The settings that become a command's flags."""
    return _found(COMMANDS[command].settings)


def _found(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def completion(args: Sequence[str]) -> int:
    """Prints the completion script of a shell."""
    from orograph.settings.completion import SHELLS, print_completion

    if len(args) != 1 or args[0] not in SHELLS:
        if args and args[0] in ("-h", "--help"):
            print('usage: eval "$(orograph completion bash)"\n\nThe completion script of a shell: ' + ", ".join(SHELLS) + ".")
            return 0
        raise unknown("shell", args[0] if args else "", SHELLS)
    print_completion({name: settings_of(name) for name in COMMANDS}, args[0])
    return 0


def usage() -> str:
    """What `orograph --help` says."""
    summaries = {name: command.summary for name, command in COMMANDS.items()} | {COMPLETION: "completion for bash, zsh or tcsh"}
    width = max(shutil.get_terminal_size((140, 24)).columns, 40)
    lines = [
        textwrap.fill(f"  {name:<10} {text}", width, subsequent_indent=" " * 13, break_on_hyphens=False)
        for name, text in summaries.items()
    ]
    head = ["usage: orograph COMMAND [OPTIONS]", "", "Measures and maps the loss landscapes of neural networks.", ""]
    tail = [
        "",
        "orograph COMMAND --help shows a command's options and examples; orograph --version the version.",
        f"Exit codes: 0 done, 1 points or steps failed, 2 refused, {FAULT} a fault of the program, which {DEBUG} shows in full.",
    ]
    return "\n".join([*head, *lines, *(textwrap.fill(each, width) for each in tail)])


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command, and turns whatever ends it into an exit code.

    What a person can cause is one sentence on stderr and exit code 2; points or steps that failed are exit code 1. An exception
    that nobody foresaw is a fault of the program: one sentence and exit code 70, and its traceback with --debug or
    OROGRAPH_DEBUG.
    """
    args = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in args or bool(os.environ.get("OROGRAPH_DEBUG"))
    args = [word for word in args if word != DEBUG]
    for closed in ("stdout", "stderr"):  # by `>&-`: else the next file to be opened would take its place
        if getattr(sys, closed) is None:
            setattr(sys, closed, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    for stream in (sys.stdout, sys.stderr):  # what an encoding lacks is spelled out; a stand-in may have no encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    name = args[0] if args else ""
    try:
        code = _answered(args)
        sys.stdout.flush()
    except OrographError as error:
        return _refused(_told(name, error))
    except BrokenPipeError:  # as in `orograph sweep --help | head`: whoever read has gone
        _silence()
        return 141
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes.", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        return _ended(error)
    return code


def _answered(args: Sequence[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0 if args else 2
    if args[0] == "--version":
        from importlib.metadata import version

        print(version("orograph"))
        return 0
    return _run(args[0], args[1:])


def _ended(error: Exception) -> int:
    """What no command foresaw: the system or its memory at an end, or a fault of the program."""
    _silence()
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return _refused(f"the system refuses: {error.strerror or error}{place}; see to that, and give the same command again.")
    if isinstance(error, MemoryError) or out_of_memory(error):
        return _refused("there is not enough memory; give a smaller --memory, fewer --jobs or fewer samples, and try again.")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
    said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    _refused(f"this is a fault of orograph ({said}; {where}); the same command with {DEBUG} shows it in full, please report it.")
    return FAULT


def _silence() -> None:
    """Standard output takes no more, or the interpreter complains when it flushes at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(name: str, args: Sequence[str]) -> int:
    if name == COMPLETION:
        return completion(args)
    if name not in COMMANDS:
        raise unknown("command", name, [*COMMANDS, COMPLETION])
    # torch then asks for pages of 2 MB: large vectors are mapped anew at every operation, in pages of 4 kB for half of its time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with no_garbage():
        settings = _parsed(name, args)
        _begin_cluster(getattr(settings, "execution", None))
        function: Callable[[Any], int] = _found(COMMANDS[name].function)
        keep_imports()  # before they are looked at once
    quiet, machine = _asked(settings, "quiet"), _asked(settings, "json_output")
    with told(own=not quiet, others=not quiet and not machine), aside() if machine else contextlib.nullcontext():
        return function(settings)


def _asked(settings: Any, name: str) -> bool:
    return any(getattr(part, name, False) for part in (settings, getattr(settings, "execution", None)))


def _parsed(name: str, args: Sequence[str]) -> Any:
    from orograph.settings.configure import parse

    command = COMMANDS[name]
    presets = _found(command.presets) if command.presets else {}
    return parse(settings_of(name), args, command=name, description=command.description, presets=presets)


def _begin_cluster(execution: Any) -> None:
    """A cluster takes as long to start as torch to be imported: both at once."""
    if getattr(execution, "parallel", "none") not in ("dask", "ray") or execution.dry_run or not execution.jobs:
        return
    from orograph.work.clusters import begin

    begin(execution.parallel, execution.jobs, execution.address)


def _told(command: str, error: OrographError) -> str:
    """What an error says, in the words of the command line."""
    if command not in COMMANDS:
        return str(error)
    from orograph.settings.configure import as_flags

    return as_flags(str(error), settings_of(command))


def _refused(why: str) -> int:
    """One sentence on stderr, whatever is in it."""
    from rich.console import Console
    from rich.text import Text

    with contextlib.suppress(OSError):  # where nobody can be told, the exit code still tells
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(Text.assemble(("error:", "bold red"), " ", shown(why)))
    return 2
