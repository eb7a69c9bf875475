"""What a user chooses of `orograph analyze`: a frozen model of options, no torch imported."""

import math
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from orograph.errors import ConfigurationError
from orograph.settings.base import MOST_SEED, Settings, require_range
from orograph.settings.words import Auto

FEWEST_PROBES = 3
MOST_VECTORS = 1_000_000


class AnalyzeSettings(Settings):
    """What `orograph analyze` takes."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep")
    probes: int = Field(
        12, description="random vectors of the scalar curvature, of 1 product each; up to 128 parameters it is exact"
    )
    images: int = Field(8, description="images kept for each direction: those that carry it most")
    samples: Literal["all", "top"] = Field("all", description="keep the share of every sample, or of these images only")
    lowest_products: int = Field(300, description="products for λ_min of a point at most; 0 leaves certificates out")
    response_products: int = Field(400, description="products for the susceptibility of a point at most; 0 leaves it out")
    density: bool = Field(False, description="spectral density, outliers and bulk edge of every point")
    density_probes: int = Field(4, description="random vectors of the density, of 80 products each")
    refine: bool = Field(False, description="insert points around each transition of the order parameter and judge its order")
    refine_width: float = Field(0.0, description="insert until the interval is this narrow; 0 is a 32nd of the ladder's step")
    refine_points: int = Field(18, description="points inserted around one transition at most")
    rate: str = Field("none", description="a run with half the step and a third of the learning rate, to compare loops with")
    null: str = Field("none", description="a run that climbs the same ladder again, to compare loops with")
    atlas: str = Field(
        "none",
        description="an atlas of this run: its folds in place of extrapolated spinodals, its saddles beside barriers of paths",
    )
    path_steps: int = Field(2000, description="gradients for each trained path between branches; 0 takes the straight line only")
    resamples: int = Field(199, description="bootstrap resamples and permutations")
    seed: int = Field(0, description="seed of all random vectors and resamples")
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    dry_run: bool = Field(False, description="print what there is to do and what it costs, and stop")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the results as JSON")

    @model_validator(mode="after")
    def _possible(self) -> "AnalyzeSettings":
        least = {"probes": FEWEST_PROBES, "images": 1, "density_probes": 2, "refine_points": 1, "resamples": 19}
        least |= {"lowest_products": 0, "response_products": 0, "path_steps": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigurationError(f"`{name}` {getattr(self, name)} must be at least {bound}")
        for name in ("probes", "images", "density_probes", "refine_points", "resamples"):
            require_range(name, getattr(self, name), least[name], MOST_VECTORS)
        require_range("seed", self.seed, 0, MOST_SEED)
        if not math.isfinite(self.refine_width) or self.refine_width < 0:
            raise ConfigurationError(f"`refine_width` {self.refine_width} must be a number ≥ 0")
        if self.response_products == 1:
            raise ConfigurationError("`response_products` 1 must be 0 or at least 2: one to step and one to verify")
        return self
