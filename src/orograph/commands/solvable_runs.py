"""Runs of exactly solvable networks, as the commands `sweep`, `follow` and `atlas` make them, in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from orograph.atlas.command import atlas
from orograph.atlas.graph import read_atlas
from orograph.atlas.settings import AtlasSettings
from orograph.branches.command import follow_branches
from orograph.branches.settings import BranchSettings, FollowNumerics, FollowSettings, StartSettings
from orograph.models import build_model
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings, ParallelExecution
from orograph.store.branch import Course, courses
from orograph.store.run import Run
from orograph.sweep.command import sweep
from orograph.sweep.settings import AnchorSettings, EndSettings, LadderSettings, SpectrumSettings, SweepNumerics, SweepSettings
from orograph.training.settings import TrainingSettings

if TYPE_CHECKING:
    import networkx

SAMPLES = 20  # of a teacher: the closed forms hold for any number
SQUARED = ProblemSettings(loss="squared", metrics=("rmse",))


@dataclass(frozen=True)
class Solvable:
    """An exactly solvable network with its data, by name.

    Attributes:
        model: named, with its widths and activation.
        data: named, with the singular values of a teacher.
        inputs: numbers of a sample.
        outputs: of the network.
    """

    model: ModelSettings
    data: DataSettings
    inputs: int
    outputs: int

    @classmethod
    def linear(cls, singular: Sequence[float], factors: int, width: int) -> "Solvable":
        """A deep linear network on a linear teacher.

        Args:
            singular: σ.
            factors: how many matrices.
            width: of the hidden layers.
        """
        model = ModelSettings(model="deep-linear", widths=(width,) * (factors - 1))
        return cls.taught(model, singular)

    @classmethod
    def taught(cls, model: ModelSettings, singular: Sequence[float]) -> "Solvable":
        """A network on a linear teacher.

        Args:
            model: its settings.
            singular: σ.
        """
        data = DataSettings(dataset="linear-teacher", singular_values=tuple(singular), subset_size=SAMPLES)
        return cls(model, data, len(singular), len(singular))

    def build(self) -> nn.Module:
        """The network, in float64."""
        shape, options = (self.inputs,), self.model.options()
        return build_model(self.model.model, input_shape=shape, classes=self.outputs, init_seed=0, **options).double()


@dataclass(frozen=True)
class Runs:
    """What makes runs.

    Attributes:
        folder: where they are written.
        dtype: `float64` or `float32`.
    """

    folder: Path
    dtype: Literal["float64", "float32"]

    def ladder(self, name: str, network: Solvable, strengths: Sequence[float], *, pairs: int) -> Run:
        """A sweep along these strengths, from where training ends at the first of them.

        Args:
            name: of the run.
            network: and its data.
            strengths: λ.
            pairs: lowest eigenvalues of L_eff at each point.
        """
        settings = SweepSettings(
            data=network.data,
            model=network.model,
            problem=SQUARED,
            ladder=LadderSettings(strengths=tuple(strengths)),
            anchor=AnchorSettings(),
            training=TrainingSettings(
                epochs=300, lr=0.01, batch_size=SAMPLES, polish=True, polish_tolerance=1e-9 if self.dtype == "float64" else 1e-5
            ),
            spectrum=SpectrumSettings(k=pairs, which="SA", hessian="objective", eigenvectors="none"),
            ending=EndSettings(end="newton"),
            numerics=SweepNumerics(threads=1, dtype=self.dtype),
        )
        sweep(settings, self._execution(name))
        return Run.open(self.folder / name)

    def follow(self, name: str, start: Run | Mapping[str, Any], network: Solvable, strength: float, **chosen: Any) -> Run:
        """Branches that begin at a point of a ladder, or at parameters by name; those that are not named are zero.

        Args:
            name: of the run.
            start: where they begin.
            network: and its data.
            strength: λ there.
            chosen: of `BranchSettings`.
        """
        begin, own = StartSettings(strength=strength), {}
        if isinstance(start, Run):
            source = start.path
        else:
            source = self.folder / f"{name}.pth"
            source.parent.mkdir(parents=True, exist_ok=True)
            state = {key: torch.zeros_like(each) for key, each in network.build().state_dict().items()}
            torch.save({**state, **start}, source)
            own = {"data": network.data, "model": network.model, "problem": SQUARED}
        settings = FollowSettings(
            run=str(source),
            begin=begin,
            branch=BranchSettings(**chosen),
            numerics=FollowNumerics(threads=1, dtype=self.dtype),
            **own,
        )
        follow_branches(settings, self._execution(name))
        return Run.open(self.folder / name)

    def atlas(self, name: str, *runs: Run) -> "networkx.MultiGraph[Any]":
        """The atlas of runs, as a graph.

        Args:
            name: of the atlas.
            runs: branches and ladders.
        """
        out = self.folder / name
        atlas(AtlasSettings(runs=tuple(str(run.path) for run in runs), out=str(out), quiet=True))
        return read_atlas(out)

    def _execution(self, name: str) -> ParallelExecution:
        return ParallelExecution(out=str(self.folder / name), quiet=True)


def course(run: Run, name: str | None = None) -> Course:
    """A branch of a run.

    Args:
        run: of branches.
        name: of it; the first if not given.
    """
    known = courses(run)
    return next(iter(known.values())) if name is None else known[name]
