"""What a user chooses of the atlas; imports no torch."""

from typing import Annotated

import tyro
from pydantic import Field, model_validator

from orograph.settings.base import Settings, require_range
from orograph.settings.words import Auto


class AtlasSettings(Settings):
    """What `orograph atlas` takes."""

    runs: tyro.conf.Positional[tuple[str, ...]] = Field((), description="runs of orograph follow, and sweeps of the same problem")
    out: Auto = Field(None, description="the run directory; auto is runs/<first run>-atlas")
    descents: int = Field(1, description="places of each stretch of saddles of index 1 from which to descend on both sides")
    descent_products: int = Field(20_000, description="Hessian products to spend at most on one descent")
    dry_run: bool = Field(False, description="print what there is to do, and stop")
    quiet: bool = Field(False, description="no progress, no table")
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the graph as JSON")

    @model_validator(mode="after")
    def _possible(self) -> "AtlasSettings":
        require_range("descents", self.descents, 0, 100)
        require_range("descent_products", self.descent_products, 1, 10**9)
        return self
