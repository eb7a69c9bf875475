"""What is computed of whole chains once their points are analysed: branches, trajectory, free energy, classes, transitions.

All of it comes from what is recorded, in seconds, and is computed anew each time. What belongs to a point (its branches, its
step, its turning angle) is kept with it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orograph.analysis.chain import Chain, with_vectors
from orograph.analysis.refine import ladder_interval
from orograph.analysis.series import ORDER, Changes, changes_of, envelopes, pairs_to_compare, score_series, unsettled_of
from orograph.ladder.branches import Branches, Meeting, Pairs, follow, meetings
from orograph.ladder.changes import ChangePoint
from orograph.ladder.hysteresis import Loop, Way, loops, spinodal, with_ends
from orograph.ladder.relations import ClassRelation, adjusted_over_classes, class_relation
from orograph.ladder.thermodynamics import Envelope
from orograph.ladder.trajectories import Trajectory, gram, trajectory
from orograph.ladder.transitions import Coincidence, Judgement, coincidences, judge
from orograph.store.analysis import Analysis
from orograph.store.run import Run
from orograph.store.spectra import recorded_spectrum
from orograph.store.wording import Score
from orograph.sweep.settings import SweepSettings

COMPONENTS = 3
_ROUNDING = 8  # eps of F, relative: twice what was measured of means of losses of 1e-3, whose outputs are of order ten


@dataclass(frozen=True)
class Transition:
    """A change of the order parameter, and what is known of it.

    Attributes:
        change: as seen on the ladder.
        judgement: of its order.
        inserted: points that were inserted around it.
        classes: of each, what its first metric on the test data lost over the step, and what its share of the curvature moved.
    """

    change: ChangePoint
    judgement: Judgement
    inserted: int
    classes: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Survey:
    """All that is known of one chain.

    Attributes:
        chain: its points.
        branches, meetings: of the eigenpairs; None and empty without eigenvectors.
        way, gradients: trajectories of θ and of ∇L, in ascending order of λ.
        envelopes: the envelope identity of every pair of neighbours.
        relations: of each class's first metric and share.
        changes: change points of every quantity.
        transitions: of the order parameter.
        coincidences: of change points.
    """

    chain: Chain
    branches: Branches | None
    meetings: tuple[Meeting, ...]
    way: Trajectory
    gradients: Trajectory
    envelopes: tuple[Envelope, ...]
    relations: tuple[ClassRelation, ...]
    changes: Changes
    transitions: tuple[Transition, ...]
    coincidences: tuple[Coincidence, ...]


def survey(
    run: Run,
    analysis: Analysis,
    sweep: SweepSettings,
    chain: Chain,
    others: Sequence[Chain],
    *,
    resamples: int,
    seed: int,
    write: bool = True,
) -> Survey:
    """Everything about one chain.

    Args:
        run, analysis: where its points are; what belongs to each is written there if `write`.
        sweep: the settings of the run.
        chain: which.
        others: chains of other seeds in the same direction.
        resamples, seed: of bootstraps and permutations.
    """
    tracked, met = _branches(run, chain, sweep.spectrum.tolerance)
    way, gradients = (trajectory(_gram(run, chain, name), COMPONENTS) for name in ("theta", "gradient"))
    critical = critical_points(chain, sweep.training.polish_tolerance)
    rounding = _ROUNDING * float(np.finfo(sweep.numerics.dtype).eps)
    wording = run.wording
    changes = changes_of(chain, others, run.classes, critical, resamples=resamples, seed=seed, rounding=rounding, wording=wording)
    found = Survey(
        chain=chain,
        branches=tracked,
        meetings=met,
        way=way,
        gradients=gradients,
        envelopes=envelopes(chain, critical, rounding),
        relations=_relations(run, analysis, chain, resamples, seed),
        changes=changes,
        transitions=tuple(_transition(run, analysis, chain, change) for change in changes.found.get(ORDER, ())),
        coincidences=_coincidences(chain, changes, wording.score),
    )
    if write:
        _keep(analysis, found)
    return found


def class_fractions(analysis: Analysis, chain: Chain) -> np.ndarray:
    """`(T, C)`: the share of each class in the curvature of all recorded pairs, relative to the sum of their magnitudes."""
    rows = []
    for cell in chain.cells:
        shares = analysis.array("classes", cell, "class_share")
        total = None if shares is None else np.abs(shares.sum(0)).sum()
        rows.append(None if shares is None or not total else shares.sum(1) / total)
    count = next((len(row) for row in rows if row is not None), 0)
    return np.array([np.full(count, np.nan) if row is None else row for row in rows])


def critical_points(chain: Chain, tolerance: float) -> list[bool]:
    """Whether each point is critical: ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖) at λ > 0, τ the tolerance."""
    limits = tolerance * np.maximum(1.0, 2 * chain.strengths * chain.series("anchor_distance"))
    return ((chain.series("objective_gradient_norm") <= limits) & (chain.strengths > 0)).tolist()


def _gram(run: Run, chain: Chain, name: str) -> np.ndarray:
    return gram(lambda index: run.array(chain.cells[index], name), len(chain.cells))


def _branches(run: Run, chain: Chain, resolution: float) -> tuple[Branches | None, tuple[Meeting, ...]]:
    if not with_vectors(run, chain):
        return None, ()
    tracked = follow(lambda index: Pairs.of(recorded_spectrum(run, chain.cells[index])), len(chain.cells))
    spectra = [recorded_spectrum(run, cell, vectors=False) for cell in chain.cells]
    eigenvalues = np.stack([spectrum.eigenvalues.numpy() for spectrum in spectra])

    def rows(place: int, branch: int) -> np.ndarray:
        pair = int(np.flatnonzero(tracked.numbers[place] == branch)[0])
        start, stop = next(((a, b) for a, b in spectra[place].clusters if a <= pair < b), (pair, pair + 1))
        return np.array(run.array(chain.cells[place], "eigenvector")[start:stop])

    return tracked, meetings(chain.strengths, tracked.values(eigenvalues), rows, resolution=resolution)


def _relations(run: Run, analysis: Analysis, chain: Chain, resamples: int, seed: int) -> tuple[ClassRelation, ...]:
    """On the ladder's own points: inserted ones would weigh the transitions more."""
    fractions, scores, better = class_fractions(analysis, chain), chain.by_class(run.wording), _better(run)
    if fractions.shape != scores.shape:
        return ()
    own = chain.planned
    chosen: dict[str, Any] = {"resamples": resamples, "seed": seed, "higher_is_better": better > 0}
    return adjusted_over_classes(
        [
            class_relation(name, chain.strengths[own], scores[own, index], fractions[own, index], **chosen)
            for index, name in enumerate(run.classes)
        ]
    )


def _transition(run: Run, analysis: Analysis, chain: Chain, change: ChangePoint) -> Transition:
    ladder = chain.strengths[chain.planned]
    step = ladder_interval(ladder, change)
    width = step[1] - step[0]
    known = dict(zip(chain.strengths.tolist(), chain.order_parameter.tolist(), strict=True))
    judgement = judge(known, ladder.tolist(), change.kind, step, sure=change.sure)
    near = (chain.strengths >= step[0] - 1.01 * width) & (chain.strengths <= step[1] + 1.01 * width)
    inserted = int((near & ~chain.planned).sum())
    return Transition(change, judgement, inserted, _class_changes(run, analysis, chain, step))


def _class_changes(run: Run, analysis: Analysis, chain: Chain, step: tuple[float, float]) -> dict[str, tuple[float, float]]:
    fractions, scores, better = class_fractions(analysis, chain), chain.by_class(run.wording), _better(run)
    if fractions.shape != scores.shape:
        return {}
    low, high = (int(np.searchsorted(chain.strengths, end)) for end in step)
    lost, moved = better * (scores[low] - scores[high]), fractions[high] - fractions[low]
    return {name: (float(lost[index]), float(moved[index])) for index, name in enumerate(run.classes)}


def _better(run: Run) -> int:
    """The sign of an improvement of the first metric."""
    return 1 if run.score is None or run.score.higher_is_better else -1


def _coincidences(chain: Chain, changes: Changes, score: Score | None) -> tuple[Coincidence, ...]:
    if changes.reason:
        return ()
    return coincidences(changes.found, pairs_to_compare(list(changes.found), score), chain.strengths[chain.planned])


def _keep(analysis: Analysis, found: Survey) -> None:
    """What belongs to each point of a chain, written where it has changed."""
    chain = found.chain
    for index, cell in enumerate(chain.cells):
        scalars: dict[str, Any] = {
            "step_length": float(found.way.lengths[index]),
            "turning_angle": float(found.way.angles[index]),
            "envelope_defect": found.envelopes[index - 1].defect if index else math.nan,
            "order_parameter": float(chain.order_parameter[index]),
        }
        arrays = {
            "trajectory": _padded(found.way.coordinates[index]),
            "gradient_trajectory": _padded(found.gradients.coordinates[index]),
        }
        if found.branches is not None:
            arrays |= {
                "branch": found.branches.numbers[index].astype(np.int64),
                "branch_overlap": found.branches.overlaps[index],
                "principal_angle": found.branches.angles[index],
            }
        if not _same(analysis, cell, scalars, arrays):
            analysis.write("chain", cell, {}, scalars, arrays)


def _same(analysis: Analysis, cell: Any, scalars: Mapping[str, float], arrays: Mapping[str, np.ndarray]) -> bool:
    old = analysis.scalars("chain", cell)
    if not old or any(not _equal(old.get(name), value) for name, value in scalars.items()):
        return False
    kept = {name: analysis.array("chain", cell, name) for name in arrays}
    return all(
        (one := kept[name]) is not None and one.shape == value.shape and np.array_equal(one, value, equal_nan=True)
        for name, value in arrays.items()
    )


def _equal(one: Any, other: float) -> bool:
    return isinstance(one, float) and (one == other or (math.isnan(one) and math.isnan(other)))


def _padded(values: np.ndarray) -> np.ndarray:
    """As many entries at every point, however short the chain."""
    return np.concatenate([values, np.full(COMPONENTS - len(values), np.nan)])


def way_of(chain: Chain, common: Sequence[float], score: Score | None) -> Way:
    """A chain's points at some of its strengths, for comparing it with another way."""
    names = [*score_series(score).values(), ""]
    known = next(name for name in names if not name or np.isfinite(chain.series(name)).any())
    chosen = np.isin(chain.strengths, list(common))
    certificates = np.array([str(row.get("certificate", "")) for row in chain.rows], dtype=object)[chosen]
    return Way(
        energy=chain.series("objective")[chosen],
        order=chain.order_parameter[chosen],
        accuracy=chain.series(known)[chosen],
        objective_lambda_min=chain.series("objective_lambda_min")[chosen],
        certificates=tuple(certificates.tolist()),
        uncertain=np.where(certificates == "minimum", unsettled_of(chain)[1][chosen], 0.0),
    )


def loops_of(up: Chain, down: Chain, score: Score | None) -> tuple[np.ndarray, tuple[Loop, ...]]:
    """The strengths that both ways share, and their loops."""
    common = sorted((set(up.strengths.tolist()) & set(down.strengths.tolist())) - {0.0})  # without penalty there is no minimum
    if not common:
        return np.array(common), ()
    found = loops(np.array(common), way_of(up, common, score), way_of(down, common, score))
    return np.array(common), tuple(sharpened(loop, up, down) for loop in found)


def sharpened(loop: Loop, up: Chain, down: Chain) -> Loop:
    """A loop whose escapes and spinodals know the points that were inserted on either way."""
    escapes, ends = [], []
    for chain, step, forward in ((up, loop.escape_up, True), (down, loop.escape_down, False)):
        step = _largest_step(chain, step)
        escapes.append(step)
        last = step[0] if forward else step[1]
        used = chain.planned | (chain.strengths == last)
        own = chain.strengths[used]
        ends.append(spinodal(own, way_of(chain, own.tolist(), None), int(np.searchsorted(own, last)), forward=forward))
    return with_ends(loop, escapes[0], escapes[1], ends[0], ends[1])


def _largest_step(chain: Chain, step: tuple[float, float]) -> tuple[float, float]:
    """The part of a step over which the order parameter changes most."""
    if not all(map(math.isfinite, step)):
        return step
    inside = np.flatnonzero((chain.strengths >= step[0]) & (chain.strengths <= step[1]))
    best = max(inside[:-1].tolist(), key=lambda i: abs(chain.order_parameter[i + 1] - chain.order_parameter[i]))
    return float(chain.strengths[best]), float(chain.strengths[best + 1])


def plain_survey(found: Survey) -> dict[str, Any]:
    """A survey as JSON knows it."""
    chain = found.chain
    return {
        "seed": chain.seed,
        "direction": chain.direction,
        "points": len(chain.cells),
        "inserted": int((~chain.planned).sum()),
        "branches": None if found.branches is None else found.branches.count,
        "meetings": [asdict(meeting) for meeting in found.meetings],
        "trajectory_explained": found.way.explained.tolist(),
        "gradient_trajectory_explained": found.gradients.explained.tolist(),
        "envelope": [asdict(each) for each in found.envelopes],
        "class_relations": [asdict(each) for each in found.relations],
        "changes": {name: [asdict(change) for change in changes] for name, changes in found.changes.found.items()},
        "changes_not_searched": found.changes.reason,
        "noise": dict(found.changes.noise),
        "forms": dict(found.changes.forms),
        "transitions": [
            {
                "change": asdict(each.change),
                "judgement": asdict(each.judgement),
                "inserted": each.inserted,
                "class_changes": {
                    name: {"accuracy_lost": lost, "share_moved": moved} for name, (lost, moved) in each.classes.items()
                },
            }
            for each in found.transitions
        ],
        "coincidences": [asdict(each) for each in found.coincidences],
        "certificates": {
            cell.strength: row.get("certificate")
            for cell, row in zip(chain.cells, chain.rows, strict=True)
            if "certificate" in row
        },
    }
