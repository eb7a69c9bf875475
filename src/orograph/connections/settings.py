"""What a user chooses of curves between two minima; imports no torch."""

from typing import Any

import tyro
from pydantic import Field, field_validator, model_validator

from orograph.connectivity.names import WAYS
from orograph.errors import ConfigurationError, unknown
from orograph.settings.base import MOST_SEED, Settings, group, require_range
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, Execution, ModelSettings, NumericsSettings
from orograph.settings.words import Words

MOST_POSITIONS = 100_000
MOST_EPOCHS = 1_000_000


class CurveSettings(Settings):
    """Which curves, and how closely."""

    paths: Words = Field(WAYS, description=f"of {', '.join(WAYS)}")
    curve_points: int = Field(21, description="positions at which each is evaluated, the two ends included")
    path_epochs: int = Field(10, description="epochs for which a curve is trained")
    point_products: int = Field(
        1000, description="Hessian products to spend at most on a point of the anchored path; 50 times as many on all"
    )
    seed: int = Field(0, description="seed of mini-batches and small displacements")

    @field_validator("paths")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in WAYS:
                raise unknown("path", name, WAYS)
        if not names or len(set(names)) < len(names):
            raise ConfigurationError(f"`paths` {','.join(names)} must name a curve at least, and each once")
        return names

    @model_validator(mode="after")
    def _possible(self) -> "CurveSettings":
        require_range("curve_points", self.curve_points, 2, MOST_POSITIONS)
        require_range("path_epochs", self.path_epochs, 1, MOST_EPOCHS)
        require_range("point_products", self.point_products, 1, 10**9)
        require_range("seed", self.seed, 0, MOST_SEED)
        return self


class ConnectSettings(Settings):
    """The experiment settings of `orograph connect`."""

    a: tyro.conf.Positional[str] = Field("", description="where curves begin: a .pth or .safetensors state dict")
    b: tyro.conf.Positional[str] = Field("", description="where they end, of the same network; θ_ref of the anchored path")
    curves: CurveSettings = group(CurveSettings)
    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    problem: ProblemSettings = group(ProblemSettings)
    numerics: NumericsSettings = group(NumericsSettings)

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics"})


class ConnectCommand(ConnectSettings):
    """Settings of the run, and how this process does it."""

    execution: Execution = group(Execution)
