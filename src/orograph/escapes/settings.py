"""What a user chooses of escapes from a metastable state; imports no torch."""

import math
from typing import Any, Literal

import tyro
from pydantic import Field, model_validator

from orograph.errors import ConfigurationError
from orograph.settings.base import MOST_SEED, Settings, group, require_range
from orograph.settings.shared import Execution, NumericsSettings
from orograph.settings.words import Integers, Numbers

NONE = "none"
MOST_CHAINS = 100_000  # of a cell
MOST_STEPS = 10**9


class WellSettings(Settings):
    """Which state is left, and at which strengths."""

    jump: int = Field(
        0, description="number of the jump of the ladder, from 1 in its order; 0: the one nearest to --at, else the largest"
    )
    at: Numbers = Field((), description="strengths λ; where none is given, those of the last three points before the jump")
    seed: int = Field(0, description="which seed of the sweep")
    direction: Literal["up", "down"] = Field("up", description="which way of the sweep")
    atlas: str = Field(NONE, description="an atlas, or a run of orograph follow, whose saddles give the heights; else none")
    path_steps: int = Field(400, description="gradients for a path between both states without a saddle; 0: the straight line")
    polish_products: int = Field(20_000, description="Hessian products to spend at most on reaching a critical point")

    @model_validator(mode="after")
    def _possible(self) -> "WellSettings":
        require_range("jump", self.jump, 0, 10**6)
        require_range("seed", self.seed, 0, MOST_SEED)
        require_range("path_steps", self.path_steps, 0, 10**9)
        require_range("polish_products", self.polish_products, 1, 10**9)
        _require_distinct("at", self.at)
        for strength in self.at:
            if not 0 < strength < math.inf:
                raise ConfigurationError(f"`at` {strength} must be a number above 0: without a penalty no state is metastable")
        return self


class ChainSettings(Settings):
    """The chains of stochastic gradient descent that begin in it."""

    chains: int = Field(32, description="chains of each strength, batch size and learning rate")
    batch_sizes: Integers = Field((4, 8, 16), description="samples of a step, drawn with replacement")
    learning_rates: Numbers = Field((0.05, 0.1), description="learning rates of plain SGD")
    steps: int = Field(5000, description="steps of a chain at most; one that has not crossed by then is censored")
    order_seed: int = Field(0, description="seed of the batches, of which each chain has a stream of its own")
    checks: int = Field(4, description="crossings of each cohort from which descent without noise is followed")
    descent_steps: int = Field(2000, description="steps of such a descent at most")

    @model_validator(mode="after")
    def _possible(self) -> "ChainSettings":
        require_range("chains", self.chains, 1, MOST_CHAINS)
        require_range("steps", self.steps, 1, MOST_STEPS)
        require_range("order_seed", self.order_seed, 0, MOST_SEED)
        require_range("checks", self.checks, 0, MOST_CHAINS)
        require_range("descent_steps", self.descent_steps, 1, MOST_STEPS)
        for name in ("batch_sizes", "learning_rates"):
            values = getattr(self, name)
            _require_distinct(name, values)
            for value in values:
                if not 0 < value < math.inf:
                    raise ConfigurationError(f"`{name}` {value} must be positive and finite")
        if not (self.batch_sizes and self.learning_rates):
            raise ConfigurationError("`batch_sizes` and `learning_rates` must hold a number at least")
        return self


class EscapeSettings(Settings):
    """The experiment settings of `orograph escape`."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep with a jump")
    well: WellSettings = group(WellSettings)
    sgd: ChainSettings = group(ChainSettings)
    numerics: NumericsSettings = group(NumericsSettings)

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics"})

    def cells(self) -> list[tuple[int, int, float]]:
        """Number of the strength, batch size and learning rate of every cell, where the strengths are settled."""
        chosen = self.sgd
        return [(at, size, lr) for at in range(len(self.well.at)) for size in chosen.batch_sizes for lr in chosen.learning_rates]


class EscapeCommand(EscapeSettings):
    """Settings of the run, and how this process does it."""

    execution: Execution = group(Execution)


def _require_distinct(name: str, values: tuple[float, ...]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"`{name}` names {twice:g} twice; name each value once")
