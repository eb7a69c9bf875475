"""What a user chooses, as frozen models: one concept each, checked here, no torch imported.

*Experiment* settings define a run and are compared when it is resumed. *Execution* settings (`Execution`) only say how this
process shows and places its work; they are not stored.
"""

import hashlib
import math
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from orograph.errors import ConfigurationError
from orograph.measures.settings import MeasuresSettings
from orograph.settings.base import MOST_SEED, Settings, group, require_range
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings, NumericsSettings, ParallelExecution
from orograph.settings.words import Integers, Numbers
from orograph.training.settings import TrainingSettings

MOST_POINTS = 100_000  # of a run: strengths × seeds × directions


class LadderSettings(Settings):
    points: int = Field(11, description="number of strengths λ")
    min: float = Field(0.0, description="smallest λ")
    max: float = Field(0.02, description="largest λ")
    spacing: Literal["linear", "log", "adaptive"] = Field(
        "linear",
        description="how the strengths are spaced; adaptive: at equal ways along the branch, which a first pass follows",
    )
    strengths: Numbers = Field((), description="an explicit list of λ instead")
    direction: Literal["up", "down", "both"] = Field("up", description="climb the ladder, descend it, or climb then descend")

    @model_validator(mode="after")
    def _ladder(self) -> "LadderSettings":
        require_range("points", self.points, 1, MOST_POINTS)  # before any list is made
        for name, value in [("min", self.min), ("max", self.max), *(("strengths", s) for s in self.strengths)]:
            if not math.isfinite(value) or value < 0:
                raise ConfigurationError(f"`{name}` {value}: a strength λ must be a number ≥ 0")
        if self.min > self.max:
            raise ConfigurationError(f"`min` {self.min} is larger than `max` {self.max}")
        if self.spacing != "linear" and not self.strengths and self.min == 0:
            raise ConfigurationError(f"`spacing` {self.spacing} needs `min` above 0")
        ladder = self.ladder()
        if len(set(ladder)) != len(ladder):
            raise ConfigurationError("the ladder holds the same strength twice; widen `min` … `max` or lower `points`")
        return self

    @property
    def unplaced(self) -> bool:
        """Whether the strengths are still to be found."""
        return self.spacing == "adaptive" and not self.strengths

    def placed(self, strengths: Any) -> "LadderSettings":
        """With the strengths that were found."""
        return LadderSettings.model_validate({**self.model_dump(), "strengths": strengths})

    def ladder(self) -> list[float]:
        """The strengths in ascending order; of an adaptive ladder that is not placed those of its first pass."""
        if self.strengths:
            return sorted(self.strengths)
        if self.points == 1:
            return [self.min]
        steps = [i / (self.points - 1) for i in range(self.points)]
        if self.spacing == "linear":
            # Ten significant digits: 0.0002 is meant, not 0.00020000000000000001.
            return [float(f"{self.min + (self.max - self.min) * t:.10g}") for t in steps]
        return [float(f"{self.min * (self.max / self.min) ** t:.10g}") for t in steps]


class AnchorSettings(Settings):
    anchor: str = Field("origin", description="θ_ref: origin, train:SEED, initial:SEED, or a .pth or .safetensors state dict")
    start: Literal["previous", "fresh", "anchor"] = Field("previous", description="where training at a point begins")
    perturb: float = Field(0.0, description="standard deviation of seeded noise added to the anchor as a start")
    seeds: Integers = Field((0,), description="seeds of initialisation and mini-batch order: the model IDs")

    @model_validator(mode="after")
    def _possible(self) -> "AnchorSettings":
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise ConfigurationError(f"`seeds` {','.join(map(str, self.seeds))} must be different numbers ≥ 0")
        require_range("seeds", max(self.seeds), 0, MOST_SEED)
        if not math.isfinite(self.perturb) or self.perturb < 0:
            raise ConfigurationError(f"`perturb` {self.perturb} must be a number ≥ 0")
        kind, _, seed = self.anchor.partition(":")
        if kind in ("train", "initial") and ":" in self.anchor:
            if not re.fullmatch("[0-9]{1,10}", seed):
                raise ConfigurationError(f"`anchor` {self.anchor} must name a seed, like {kind}:0")
            require_range("anchor", int(seed), 0, MOST_SEED)
        if self.start == "anchor" and self.anchor == "origin" and self.perturb == 0:
            raise ConfigurationError(
                "`start` anchor with `anchor` origin begins where all units are alike, which training cannot leave; "
                "add `perturb` 0.01 or choose another start"
            )
        if self.perturb and self.start != "anchor":
            raise ConfigurationError(f"`perturb` {self.perturb} acts only with `start` anchor")
        return self


class SpectrumSettings(Settings):
    k: int = Field(30, description="eigenpairs at each point; 0 for none")
    which: Literal["LM", "LA", "SA", "BE"] = Field("LM", description="largest magnitude, largest, smallest, both ends")
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ|")
    hessian: Literal["loss", "objective"] = Field("loss", description="Hessian of L, or of L_eff")
    eigenvectors: Literal["both", "zarr", "none"] = Field("both", description="keep eigenvectors as CSV and Zarr, Zarr, or not")

    @model_validator(mode="after")
    def _possible(self) -> "SpectrumSettings":
        if self.k < 0:
            raise ConfigurationError(f"`k` {self.k} must be at least 0")
        if not 0 < self.tolerance < 1:
            raise ConfigurationError(f"`tolerance` {self.tolerance} must lie between 0 and 1")
        return self


class TrackingSettings(Settings):
    track_curvature: int = Field(0, description="λ_max every so many epochs, against the edge of stability; 0 for never")

    @field_validator("track_curvature")
    @classmethod
    def _not_negative(cls, every: int) -> int:
        if every < 0:
            raise ConfigurationError(f"`track_curvature` {every} must be at least 0")
        return every


class EndSettings(Settings):
    """How a point is reached that has a neighbour on its chain."""

    end: Literal["auto", "train", "newton"] = Field(
        "auto",
        description="newton: along the neighbour's branch, predicted and corrected to a critical point, and where that branch "
        "ends down to the next one; train: by mini-batches; auto: newton where there is a neighbour, a loss that is twice "
        "differentiable and the program's own training",
    )


class IndexSettings(Settings):
    """What tells whether a point is a minimum."""

    index: bool = Field(
        False, description="λ_min of H + 2λI and how many of its eigenvalues are negative, at a hundred and more products a point"
    )


class SweepNumerics(NumericsSettings):
    """What decides the last bits of a sweep: fixed when a run is created, reused when it is resumed."""

    together: int = Field(
        0, description="spectra of a cohort computed in step; 0: one after the other on a CPU, on a GPU what --memory holds"
    )

    @model_validator(mode="after")
    def _not_negative(self) -> "SweepNumerics":
        if self.together < 0:
            raise ConfigurationError(f"`together` {self.together} must be at least 0")
        return self


_LATER: dict[str, type[Settings]] = {
    "tracking": TrackingSettings,
    "problem": ProblemSettings,
    "ending": EndSettings,
    "stability": IndexSettings,
    "measuring": MeasuresSettings,
}


class SweepSettings(Settings):
    """The experiment settings of `orograph sweep`."""

    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    ladder: LadderSettings = group(LadderSettings)
    anchor: AnchorSettings = group(AnchorSettings)
    training: TrainingSettings = group(TrainingSettings)
    spectrum: SpectrumSettings = group(SpectrumSettings)
    tracking: TrackingSettings = group(TrackingSettings)
    problem: ProblemSettings = group(ProblemSettings)
    ending: EndSettings = group(EndSettings)
    stability: IndexSettings = group(IndexSettings)
    measuring: MeasuresSettings = group(MeasuresSettings)
    numerics: SweepNumerics = group(SweepNumerics)

    @model_validator(mode="after")
    def _feasible(self) -> "SweepSettings":
        chosen = self.ladder
        points = (len(chosen.strengths) or chosen.points) * len(self.anchor.seeds) * (2 if chosen.direction == "both" else 1)
        if points > MOST_POINTS:
            raise ConfigurationError(f"{points} points are more than a run holds, {MOST_POINTS}; give fewer `points` or `seeds`")
        training = self.training
        if self.follows and (chosen_start := self.anchor.start) != "previous":
            raise ConfigurationError(f"`end` newton goes from point to point, and `start` {chosen_start} does not; leave one out")
        if self.follows and training.published:
            raise ConfigurationError("`published` ends its points where training does; leave out `end` newton")
        self.numerics.require_finite(
            **({"strengths": chosen.strengths} if chosen.strengths else {"min": chosen.min, "max": chosen.max}),
            perturb=self.anchor.perturb,
            lr=training.lr,
            weight_decay=training.weight_decay,
        )
        return self

    def ending_as(self, end: str) -> "SweepSettings":
        """With another end of its points."""
        return self.model_copy(update={"ending": EndSettings.model_validate({"end": end})})

    @property
    def follows(self) -> bool:
        """Whether points follow the branch of their neighbour; `auto` in a run is that of a time when none did."""
        return self.ending.end == "newton"

    @property
    def critical(self) -> bool:
        """Whether points at λ > 0 are to be critical points of L_eff."""
        return self.follows or self.training.polish

    def critical_at(self, strength: float) -> bool:
        """Whether the point there is to be one: without a penalty there may be no finite minimum, and it is to be asked for."""
        return self.training.polish or (self.follows and strength > 0)

    def _later(self) -> set[str]:
        """Settings that older runs do not know, where they change nothing: left out, so that those runs resume."""
        return {name for name, kind in _LATER.items() if getattr(self, name) == kind()}

    @staticmethod
    def left_out() -> dict[str, dict[str, Any]]:
        """The groups that a configuration does not name where they are these."""
        return {name: kind().model_dump(mode="json") for name, kind in _LATER.items()}

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics", *self._later()})

    def digest(self) -> str:
        """Six letters that differ between different settings, for the name of a run."""
        return hashlib.sha256(self.model_dump_json(exclude=self._later()).encode()).hexdigest()[:6]


class SweepCommand(SweepSettings):
    """Settings of the run, and how this process does it."""

    execution: ParallelExecution = group(ParallelExecution)


PRESETS: dict[str, dict[str, Any]] = {
    "anchor": {
        "data": {"dataset": "mnist"},
        "ladder": {"points": 501, "min": 0.0, "max": 0.1},
        "anchor": {"anchor": "required", "start": "previous"},
    },
    "weight-decay": {
        "data": {"dataset": "mnist"},
        "ladder": {"points": 451, "min": 0.0, "max": 0.09},
        "anchor": {"anchor": "origin", "start": "previous"},
    },
}
PRESETS["classes"] = PRESETS["weight-decay"]  # accuracies by class are recorded in every sweep
