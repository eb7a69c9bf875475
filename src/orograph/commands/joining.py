"""The command `orograph join`: sweeps that differ in their points alone become one, without a product and without a step.

Points are copied byte for byte. The run that is made has the settings of the first, with all strengths, seeds and directions;
points that none of them holds are left for `orograph sweep`. Nothing that was analysed is taken over: it depends on neighbours.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from orograph.commands.settings import JoinSettings
from orograph.errors import ConfigurationError, RunError
from orograph.memory import format_bytes
from orograph.metrics import ACCURACY, Metric
from orograph.store.adopting import adopt
from orograph.store.atomic import require_space, require_writable
from orograph.store.cells import Cell
from orograph.store.copies import ANCHOR
from orograph.store.encoding import encode
from orograph.store.integrity import digest_of
from orograph.store.marker import differences, with_groups
from orograph.store.names import MARKER
from orograph.store.recorded import facts_of
from orograph.store.records import Record
from orograph.store.resume import recorded_settings
from orograph.store.run import Run
from orograph.sweep.history import asked, planned, stages
from orograph.sweep.settings import SweepSettings
from orograph.sweep.stages import title
from orograph.work.progress import Show, WorkProgress

_NEIGHBOUR = ("moved", "frozen")  # scalars that are of a point and the one before it on its chain
_FREE = ("ladder", "anchor.seeds", "spectrum.k")  # held against each other in their own words, or not at all


def join(command: JoinSettings, show: Show = "terminal") -> int:
    """The command: checks everything first, then copies. Returns 0.

    Args:
        command: which runs, and into what.
        show: where progress is told; `terminal` has a summary too.

    Raises:
        OrographError: the runs do not go together; nothing has been written then.
    """
    if len(command.runs) < 2:
        raise ConfigurationError("join needs two runs at least: directories that sweeps wrote.")
    if not command.out:
        raise ConfigurationError(
            "join needs `out`: the directory of the run that is made; those that are joined stay as they are."
        )
    out, sources = Path(command.out), [Run.open(each) for each in command.runs]
    require_writable(out)
    if any(out.resolve() == each.path.resolve() for each in sources):
        raise ConfigurationError(f"`out` {out} is one of the runs that are joined; choose another.")
    for each in sources[1:]:
        require_same_kind(sources[0], each)
    held = holders(sources)
    history = joined_history(sources)
    first = sources[0]
    asked_for = stages(recorded_settings(first, SweepSettings), history)
    wanted = [*planned(asked_for), *(cell for each in sources for cell in each.plan.cells)]
    wanted = list(dict.fromkeys(wanted))
    size = sum((each.path / file).stat().st_size for cell, each in held.items() for file in each.records[cell].files)
    told = f"{len(held)} points of {len(sources)} runs, {len(wanted) - len(held)} to be made, {format_bytes(size)}"
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if command.dry_run:
        console.print(f"{out}: {told}")
        return 0
    if not (out / MARKER).exists():
        require_space(out, size)
    with Run.create(
        out,
        kind="sweep",
        configuration=joined_configuration(first, history[-1]),
        numerics=first.numerics,
        asked=first.numerics,
        provenance=first.provenance,
        cells=wanted,
        classes=first.classes,
        tensors=first.tensors,
        metrics=recorded_metrics(first),
        defined_by=lambda: {"joined": [each.identity or each.configuration for each in sources]},
        history=history,
    ) as run:
        if (anchor := first.kept(ANCHOR)) is not None and run.kept(ANCHOR) is None:
            run.keep(ANCHOR, anchor.read_bytes())
        with WorkProgress("points", len(held), quiet=command.quiet, show=show) as progress:
            progress.passed(len(run.records), len(run.records))
            for cell in wanted:
                if cell in held and cell not in run.records:
                    adopt(run, cell, held[cell], made_by(first, held[cell], cell))
                    progress.completed(title(cell), held[cell].path.name)
    if show == "terminal" and not command.quiet:
        console.print(f"{out}: {told}")
    return 0


def require_same_kind(first: Run, other: Run) -> None:
    """Refuses a run that differs from the first in more than its points.

    Raises:
        RunError: naming the difference.
    """
    both = f"{first.path} and {other.path}"
    for each in (first, other):
        if each.kind != "sweep":
            raise RunError(f"{each.path} is a run of kind {each.kind}; join takes sweeps.")
    if ("imported" in first.provenance) != ("imported" in other.provenance):
        raise RunError(f"of {both} one was imported: how its points were trained is not known; join runs of one kind.")
    groups = {*first.configuration, *other.configuration}
    was, now = (with_groups(SweepSettings.left_out(), each.configuration, groups) for each in (first, other))
    anchors = [each.kept(ANCHOR) for each in (first, other)]
    found = [each for each in differences(was, now) if not each.startswith(_FREE)]
    if None not in anchors:  # which may lie elsewhere on another machine
        found = [each for each in found if not each.startswith("anchor.anchor ")]
        if len({digest_of(each) for each in anchors if each is not None}) > 1:
            found.append("another anchor")
    k = [each.configuration.get("spectrum", {}).get("k", 0) for each in (first, other)]
    if k[0] != k[1]:
        fewer = (first, other)[k.index(min(k))].path
        raise RunError(f"{both} have {k[0]} and {k[1]} pairs at a point; first give: orograph extend {fewer} --k {max(k)}.")
    dtypes = [each.numerics.get("dtype") for each in (first, other)]
    if dtypes[0] != dtypes[1]:
        found.append(f"numerics.dtype = {dtypes[0]!r} (not {dtypes[1]!r})")
    for name in ("tensors", "classes", "metrics"):
        if getattr(first, name) != getattr(other, name):
            found.append(f"other {name}")
    if found:
        raise RunError(f"{both} are not joined: the first has {'; '.join(found)}; join runs that differ in their points alone.")


def holders(sources: Sequence[Run]) -> dict[Cell, Run]:
    """The run from which each recorded point is taken: the first that holds it; those that failed give way to others.

    Raises:
        RunError: two runs hold a point with different numbers.
    """
    held: dict[Cell, Run] = {}
    for each in sources:
        for cell, record in each.records.items():
            before = held.get(cell)
            known = None if before is None else before.records[cell]
            if before is None or known is None or (known.status, record.status) == ("failed", "done"):
                held[cell] = each
            elif record.status == "done" and own_numbers(known) != own_numbers(record):
                raise RunError(
                    f"{before.path} and {each.path} both hold {title(cell)}, with other numbers; if you know which is "
                    f"meant, delete the point's record in one of them, {each.path / 'points' / each.plan.name(cell)}.json."
                )
    return held


def own_numbers(record: Record) -> tuple[bytes, list[str]]:
    """What a record says of its point alone: its scalars, and the digests of its files."""
    scalars = {name: value for name, value in record.scalars.items() if name not in _NEIGHBOUR}
    return encode(scalars), sorted(record.files.values())


def joined_history(sources: Sequence[Run]) -> list[dict[str, Any]]:
    """What was asked of the first run, and then of the others with all before it."""
    history: list[dict[str, Any]] = []
    for each in sources:
        own = [dict(entry) for entry in each.history] or [asked(recorded_settings(each, SweepSettings))]
        if not history:
            history = own
            continue
        for entry in own[-1:]:
            before = history[-1]
            ways = {before["direction"], entry["direction"]}
            history.append(
                {
                    **entry,
                    "strengths": sorted({*before["strengths"], *entry["strengths"]}),
                    "direction": ways.pop() if len(ways) == 1 else "both",
                    "seeds": list(dict.fromkeys([*before["seeds"], *entry["seeds"]])),
                    "joined": each.path.resolve().name,
                }
            )
    return history


def joined_configuration(first: Run, whole: Mapping[str, Any]) -> dict[str, Any]:
    """That of the first run, with all points."""
    found = dict(first.configuration)
    found["ladder"] = {**found.get("ladder", {}), "strengths": whole["strengths"], "direction": whole["direction"]}
    found["anchor"] = {**found.get("anchor", {}), "seeds": whole["seeds"]}
    return found


def recorded_metrics(run: Run) -> list[Metric]:
    """The metrics of a run as far as it keeps them: what they are called, and in which direction they are better."""
    if run.metrics == (facts_of(ACCURACY),):
        return [ACCURACY]
    kept = [(each["name"], each["label"], each["unit"].removeprefix("1"), each["better"] == "higher") for each in run.metrics]
    return [Metric(name, lambda outputs, targets: outputs, label, unit, better) for name, label, unit, better in kept]


def made_by(first: Run, source: Run, cell: Cell) -> Mapping[str, Any] | None:
    """The provenance of a point in the joined run, None where it is that of the run; with the numerics where these are others."""
    made = dict(source.records[cell].provenance or source.provenance)
    made.pop("imported", None)
    if source.numerics != first.numerics:
        made["numerics"] = source.numerics
    return None if made == {name: value for name, value in first.provenance.items() if name != "imported"} else made
