"""Which stage of which point comes next, whoever does it.

A group of points trains together; each of them is then polished, if the run is, and measured, several at a time if so
wanted. In a continuation a group begins where the one before it ended, so that its training waits for that, or its points
follow the branches of those before; everything else is independent. What others wait for comes before measuring, and no group
is begun that lies further ahead of the first unfinished one than workers can use. Points are committed by this process, those
of a chain in their order.

A point is recorded as failed where its training diverged, and only there. After any other trouble no further task is begun: what
is finished is committed, and the rest is left to the next command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orograph.store.cells import Cell
from orograph.sweep.bench import Bench, Theta
from orograph.sweep.point import Measured
from orograph.sweep.states import State
from orograph.training.advancing import Advanced
from orograph.training.loop import Trained
from orograph.training.polishing import Polished
from orograph.work.loop import Task, work_through
from orograph.work.pools import Workers

ChainKey = tuple[int, str]  # seed and direction


@dataclass(eq=False)
class PointWork:
    """One point on its way. `state` is final once it is `settled`; a failed one has none."""

    cell: Cell
    state: State | None = None
    settled: bool = False
    finished: bool = False  # ready to be committed
    committed: bool = False
    trained: Trained | None = None
    polished: Polished | None = None
    advanced: Advanced | None = None
    measured: Measured | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def fail(self) -> None:
        """No network comes from here."""
        self.settled, self.finished = True, True


@dataclass
class Waiting:
    """One stage of one group or point, waiting for its turn."""

    task: Task
    group: int
    points: list[PointWork]


def _turn(stage: Waiting) -> tuple[bool, int, float]:
    """Of a group the largest strength first: its spectrum takes longest, and whoever has it last keeps the others waiting."""
    return stage.task.stage == "measure", stage.group, -stage.points[0].cell.strength


class Schedule:
    """The points of a sweep, worked through group by group.

    Args:
        bench: of the run, its anchor settled.
        groups: points that train together, in the order of work.
        known: whether a point is committed already.
        state_of: that of a committed point, None of one that failed. It is read again when it is needed, so that memory does not
            grow with the number of points.
        commit: has a finished point written; told the last good state of its chain.
        starts: committed points at which some begin, in place of the one before them.
        before: committed points that stand before some on their chain, from which these are told to have moved.
    """

    def __init__(
        self,
        bench: Bench,
        groups: Sequence[Sequence[Cell]],
        *,
        known: Callable[[Cell], bool],
        state_of: Callable[[Cell], State | None],
        commit: Callable[[PointWork, State | None], None],
        starts: Mapping[Cell, Cell],
        before: Mapping[Cell, Cell],
    ) -> None:
        self._bench, self._commit, self._state_of, self._starts, self._before = bench, commit, state_of, starts, before
        self._groups = [[PointWork(cell) for cell in group] for group in groups]
        self._continues = bench.settings.anchor.start == "previous"
        self._troubled = False
        self._begun = 0  # groups whose training was asked for, or was not needed
        self._neighbours: dict[ChainKey, State] = {}
        self._newest: dict[ChainKey, PointWork] = {}  # the last committed, whose state is kept: it may not be written yet
        self._last: dict[int, tuple[float, State]] = {}  # where each seed stands: its last good point
        self._waiting: list[Waiting] = []
        self._chains: dict[ChainKey, list[PointWork]] = {}
        for point in (point for group in self._groups for point in group):
            if known(point.cell):
                point.settled = point.finished = point.committed = True
            self._chains.setdefault((point.cell.seed, point.cell.direction), []).append(point)

    def run(self, workers: Workers) -> None:
        """Work until every point is committed."""
        ahead = 1 if workers.slots == 1 else 2 * workers.slots

        def take() -> Task | None:
            if self._troubled:
                return None
            self._begin_groups(ahead)
            if not self._waiting:
                return None
            stage = min(self._waiting, key=_turn)
            self._waiting.remove(stage)
            return stage.task

        work_through(workers, take, self._commit_finished, self._stop)

    def _stop(self) -> None:
        self._troubled = True

    def _begin_groups(self, ahead: int) -> None:
        """Ask for the training of groups whose starts are known and that are near enough."""
        unfinished = (i for i, group in enumerate(self._groups) if not all(point.committed for point in group))
        first = next(unfinished, len(self._groups))
        while self._begun < min(len(self._groups), first + ahead):
            group = self._groups[self._begun]
            if self._begun and self._continues and not all(point.cell in self._starts for point in group):
                if not all(point.settled for point in self._groups[self._begun - 1]):
                    return
                for point in self._groups[self._begun - 1]:
                    if (state := self._state(point)) is not None:
                        self._last[point.cell.seed] = point.cell.strength, state
            self._begin(group, self._begun)
            self._begun += 1

    def _begin(self, group: list[PointWork], index: int) -> None:
        """Ask for what leads to the states of a group: its training, or the way along branches from where there is one."""
        if all(point.committed for point in group):
            return
        alone = self._continues and len(group) == 1
        origins = {point.cell: self._origin(point.cell) for point in group}
        following = [point for point in group if self._follows(point.cell, origins[point.cell])]
        for point in following:
            if not point.committed and (origin := origins[point.cell]) is not None:
                self._add("follow", index, (point.cell, *origin), self._followed(point, index), [point])
        group = [point for point in group if point not in following]
        if not all(point.committed for point in group):
            # A cohort of which a point is missing is trained again as a whole: its members are the same bits either way.
            cells = [point.cell for point in group]
            starts = [self._start(cell, origins[cell]) for cell in cells]
            self._add("train", index, (cells, starts, alone), self._trained(group, index), group)

    def _origin(self, cell: Cell) -> tuple[float, State] | None:
        """The last good point before one, by its strength and its state."""
        before = self._starts.get(cell)
        if before is None:
            return self._last.get(cell.seed)
        state = self._state_of(before)
        return None if state is None else (before.strength, state)

    def _neighbour(self, cell: Cell, chain: ChainKey) -> State | None:
        """The last good state before a point on its own chain."""
        before = self._before.get(cell)
        if before is None:
            return self._neighbours.get(chain)
        return self._state_of(before) if (before.seed, before.direction) == chain else None

    def _follows(self, cell: Cell, origin: tuple[float, State] | None) -> bool:
        """Whether a point lies on a branch to which another leads."""
        settings = self._bench.settings
        return settings.follows and origin is not None and all(map(settings.critical_at, (origin[0], cell.strength)))

    def _start(self, cell: Cell, origin: tuple[float, State] | None) -> State:
        if cell in self._starts and origin is not None:
            return origin[1]
        return self._bench.start(cell, None if origin is None else origin[1])

    def _add(
        self, stage: str, group: int, arguments: tuple[Any, ...], done: Callable[[Any, float], None], points: list[PointWork]
    ) -> None:
        waiting = [point for point in points if not point.committed]
        others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        title = f"{waiting[0].cell.model_id}, λ = {waiting[0].cell.strength:g}{others}, {stage}"
        self._waiting.append(Waiting(Task(stage, arguments, done, title), group, waiting))

    def _trained(self, group: list[PointWork], index: int) -> Callable[[Any, float], None]:
        def done(results: list[Trained], seconds: float) -> None:
            for point, result in zip(group, results, strict=True):
                if point.committed:
                    continue
                point.trained, point.timings["training"] = result, seconds / len(group)
                if result.failed_epoch is not None:
                    point.fail()
                    self._measure_with(point, index)
                elif self._bench.settings.critical_at(point.cell.strength):
                    state = self._bench.states.join(result.theta, result.buffers)
                    self._add("polish", index, (point.cell, state), self._polished(point, index), [point])
                else:
                    self._settle(point, self._joined(point, result.theta), index)

        return done

    def _followed(self, point: PointWork, index: int) -> Callable[[Any, float], None]:
        def done(result: tuple[State, Advanced], seconds: float) -> None:
            state, point.advanced = result
            point.polished, point.timings["following"] = point.advanced.polished, seconds
            self._settle(point, state, index)

        return done

    def _polished(self, point: PointWork, index: int) -> Callable[[Any, float], None]:
        def done(result: Polished, seconds: float) -> None:
            point.polished, point.timings["polishing"] = result, seconds
            self._settle(point, self._joined(point, result.theta), index)

        return done

    def _joined(self, point: PointWork, theta: Theta) -> State:
        assert point.trained is not None
        return self._bench.states.join(theta, point.trained.buffers)

    def _settle(self, point: PointWork, state: State, index: int) -> None:
        point.state, point.settled = state.to(self._bench.instruments.train.theta), True
        self._measure_with(point, index)

    def _measure_with(self, point: PointWork, index: int) -> None:
        """Ask for the measurement of the points that are measured with this one, when the last of them is settled.

        Company may change the last bits of a spectrum: those that are committed already take part again.
        """
        group, size = self._groups[index], self._bench.settings.numerics.together
        first = group.index(point) // size * size
        company = group[first : first + size]
        if not all(each.settled for each in company) or all(each.finished for each in company):
            return
        measured = [(each, state) for each in company if (state := self._state(each)) is not None]

        def done(results: list[Measured], seconds: float) -> None:
            for (each, _), result in zip(measured, results, strict=True):
                if not each.committed:
                    each.measured, each.finished = result, True
                    each.timings |= result.seconds

        cells, states = [each.cell for each, _ in measured], [state for _, state in measured]
        self._add("measure", index, (cells, states), done, [each for each, _ in measured])

    def _commit_finished(self) -> None:
        """Commit what is finished, as far as all before it in its chain is."""
        for chain, points in self._chains.items():
            while points and points[0].finished:
                point = points.pop(0)
                if not point.committed:
                    self._commit(point, self._neighbour(point.cell, chain))
                    point.committed = True
                if (state := self._state(point)) is not None:
                    self._neighbours[chain] = state
                point.trained = point.polished = point.advanced = point.measured = None  # they are on the disk, or will be
                if (before := self._newest.get(chain)) is not None:
                    before.state = None
                self._newest[chain] = point

    def _state(self, point: PointWork) -> State | None:
        return self._state_of(point.cell) if point.committed and point.state is None else point.state
