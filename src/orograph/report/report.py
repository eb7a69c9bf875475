"""The command `orograph report`: one HTML file that shows a whole run, to be opened anywhere and sent to anyone."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from orograph.errors import ConfigurationError, RunError, shown
from orograph.memory import format_bytes
from orograph.report.branch import atlas_data, branch_data
from orograph.report.connection import connection_data
from orograph.report.escape import escape_data
from orograph.report.page import page, plotly_script
from orograph.report.settings import ReportSettings
from orograph.report.study import study_data
from orograph.report.sweep import sweep_data
from orograph.report.track import track_data
from orograph.store.atomic import write_bytes
from orograph.store.branch import ATLAS, ATLAS_FILE, BRANCH
from orograph.store.connection import CONNECTION, CONNECTION_FILE
from orograph.store.encoding import decode
from orograph.store.escape import ESCAPE, ESCAPE_FILE
from orograph.store.finished import unfinished
from orograph.store.names import require_free
from orograph.store.part import WHOLE, Part, part_of
from orograph.store.run import Run
from orograph.store.track import TRACK

FILE, PART_FILE = "report.html", "report-part.html"


def report(settings: ReportSettings) -> int:
    """The command. Returns the exit code.

    Raises:
        OrographError: there is no such run, nothing in it yet, the file cannot be written, or plotly is not installed.
    """
    if not settings.run:
        raise ConfigurationError("report needs a run: the directory that a sweep, a study or follow wrote.")
    plotly_script()  # whether it is there is known before anything is read
    run = Run.open(settings.run)
    part = part_of(run, settings.seeds, settings.points)
    out = Path(settings.out or run.path / (FILE if part.whole else PART_FILE))
    if out.is_dir():
        raise ConfigurationError(f"`out` {out} is a directory; name a file, as {out / FILE}.")
    require_free(out)
    content = render(run, part).encode()
    write_bytes(out, content)
    if not settings.quiet:
        left = f"; {told}" if (told := unfinished(run)) else ""
        said = Text.assemble((shown(out), "bold"), f", {format_bytes(len(content))}: open it in any browser{left}")
        Console(highlight=False).print(said, soft_wrap=True)
    return 0


def render(run: Run, part: Part = WHOLE) -> str:
    """The HTML of a run's report; the same text for the same run.

    Args:
        run: of any kind.
        part: of a sweep or a study.

    Raises:
        RunError: it holds nothing to show yet.
    """
    if run.kind == TRACK and not run.findings:
        raise RunError(f"{run.path} has no measurement yet; it begins with the training loop that it tracks.")
    if run.kind == TRACK:
        return page(track_data(run))
    if run.kind == BRANCH and run.findings:
        return page(branch_data(run))
    if run.kind == ATLAS and (run.path / ATLAS_FILE).is_file():
        return page(atlas_data(run, decode(run.path / ATLAS_FILE)))
    if run.kind == ESCAPE and (run.path / ESCAPE_FILE).is_file():
        return page(escape_data(run, decode(run.path / ESCAPE_FILE)))
    if run.kind == CONNECTION and (run.path / CONNECTION_FILE).is_file():
        return page(connection_data(run, decode(run.path / CONNECTION_FILE)))
    if not run.records:
        raise RunError(f"{run.path} has no finished point yet; run the {run.kind} first.")
    return page(study_data(run, part) if run.kind == "study" else sweep_data(run, part))
