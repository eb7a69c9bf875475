"""What a user chooses of following a branch; imports no torch."""

import math
from typing import TYPE_CHECKING, Any, Literal

import tyro
from pydantic import Field, model_validator

from orograph.errors import ConfigurationError
from orograph.settings.base import MOST_SEED, Settings, group, require_range
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings, NumericsSettings, ParallelExecution
from orograph.settings.words import word_for_none

MOST_POINTS = 100_000  # of one branch
MOST_PAIRS = 1_000
MOST_LEVELS = 10

if TYPE_CHECKING:
    AutoNumber = float | None
    Number = float | None
    Limit = int | None
else:
    AutoNumber = word_for_none("auto", float, "FLOAT|{auto}")
    Number = word_for_none("none", float, "FLOAT|{none}")
    Limit = word_for_none("none", int, "INT|{none}")


class StartSettings(Settings):
    """Which critical point a branch begins at."""

    strength: AutoNumber = Field(None, description="λ there; auto is the smallest of a sweep above 0, and a checkpoint needs one")
    seed: int = Field(0, description="of a sweep: which of its seeds")
    chain: Literal["up", "down"] = Field("up", description="of a sweep: which of its two ways")
    anchor: str = Field("origin", description="θ_ref of a checkpoint: origin, or a .pth or .safetensors state dict")
    polish_products: int = Field(20_000, description="Hessian products to spend at most on reaching the critical point")

    @model_validator(mode="after")
    def _possible(self) -> "StartSettings":
        require_range("seed", self.seed, 0, MOST_SEED)
        require_range("polish_products", self.polish_products, 1, 10**9)
        if self.strength is not None and not 0 <= self.strength < math.inf:
            raise ConfigurationError(f"`strength` {self.strength} must be a number ≥ 0")
        if self.anchor.startswith(("train:", "initial:")):
            raise ConfigurationError(f"`anchor` {self.anchor} is of a sweep; a checkpoint has origin, or a state dict")
        return self


class BranchSettings(Settings):
    """How far a branch is followed, and how closely."""

    direction: Literal["up", "down", "both"] = Field("up", description="in which λ goes first")
    min: float = Field(0.0, description="smallest λ")
    max: Number = Field(None, description="largest λ")
    points: int = Field(200, description="points of one branch, at most")
    step: AutoNumber = Field(None, description="length of the first step in s; auto is a hundredth of ‖θ − θ_ref‖")
    longest_step: AutoNumber = Field(None, description="of the longest; auto is a tenth of ‖θ − θ_ref‖ at the start")
    tolerance: AutoNumber = Field(
        None, description="τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖); auto is 1e-9 in float64, 1e-5 in float32"
    )
    pairs: int = Field(4, description="lowest eigenvalues of L_eff at each point; 0: none, and no branch points")
    symmetry: Literal["none", "rotations"] = Field(
        "none", description="rotations between all layers of a linear network without biases change nothing and are no event"
    )
    switch: int = Field(0, description="how often to go over to the branches that leave a branch point; 0 stays on the first")
    amplitude: float = Field(0.05, description="how far along the kernel another branch is looked for, in θ")
    max_products: Limit = Field(None, description="Hessian products to spend on one branch")

    @model_validator(mode="after")
    def _possible(self) -> "BranchSettings":
        require_range("points", self.points, 1, MOST_POINTS)
        require_range("pairs", self.pairs, 0, MOST_PAIRS)
        require_range("switch", self.switch, 0, MOST_LEVELS)
        if self.switch and not self.pairs:
            raise ConfigurationError(
                f"`switch` {self.switch} needs eigenvalues, which tell branch points; give `pairs` 2 or more"
            )
        if not 0 <= self.min < (math.inf if self.max is None else self.max) or self.max == math.inf:
            raise ConfigurationError(f"`min` {self.min} must be at least 0 and below `max` {self.max}, a number or none")
        for name in ("step", "longest_step", "tolerance", "amplitude", "max_products"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"`{name}` {value} must be positive and finite")
        return self

    @property
    def between(self) -> tuple[float, float]:
        """The range of λ."""
        return self.min, math.inf if self.max is None else self.max


class FollowNumerics(NumericsSettings):
    """What decides the last bits: fixed when a run is created, reused when it is resumed."""

    dtype: Literal["float32", "float64"] = Field("float64", description="arithmetic; events are as sharp as it is")


class FollowSettings(Settings):
    """The experiment settings of `orograph follow`; data, model and problem are of a checkpoint, and a sweep brings its own."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep, or a .pth or .safetensors state dict")
    begin: StartSettings = group(StartSettings)
    branch: BranchSettings = group(BranchSettings)
    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    problem: ProblemSettings = group(ProblemSettings)
    numerics: FollowNumerics = group(FollowNumerics)

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics"})


class FollowCommand(FollowSettings):
    """Settings of the run, and how this process does it."""

    execution: ParallelExecution = group(ParallelExecution)
