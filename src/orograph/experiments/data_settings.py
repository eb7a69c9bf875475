"""What a user chooses of the commands that carry runs in and out; imports no torch."""

from typing import Literal

import tyro
from pydantic import Field

from orograph.experiments.settings import AnchorSettings, DataSettings, ModelSettings, NumericsSettings, Settings, group

_RUN = "the directory of a sweep or a study"


class ExportSettings(Settings):
    """What `orograph export` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    to: Literal["csv", "parquet", "netcdf"] = Field("csv", description="one row a point, or all arrays")
    out: str = Field("auto", description="the file to write; auto is NAME.csv, .parquet or .nc beside the run's directory")
    vectors: bool = Field(False, description="of netcdf: with θ, gradients and eigenvectors, which are large")


class ImportExecution(Settings):
    """Where artifacts come from and go to."""

    out: str = Field("auto", description="the run to make; auto is runs/<name of the folder>")
    data_dir: str = Field("auto", description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    quiet: bool = Field(False, description="no progress")


class ImportSettings(Settings):
    """What `orograph import` takes: where the files lie, and what they are of, which files do not say."""

    folder: tyro.conf.Positional[str] = Field("", description="a folder that holds published artifacts, or their test_data")
    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    anchor: AnchorSettings = group(AnchorSettings)
    hessian: Literal["loss", "objective"] = Field("loss", description="whose eigenpairs the files hold: of L, or of L_eff")
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ| of a converged pair")
    numerics: NumericsSettings = group(NumericsSettings)
    execution: ImportExecution = group(ImportExecution)


class CardSettings(Settings):
    """What `orograph card` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    out: str = Field("auto", description="the file to write; auto is RUN/README.md")
    license: str = Field("unknown", description="under which the folder is shared, as an SPDX identifier such as cc-by-4.0")


class WatchSettings(Settings):
    """What `orograph watch` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    every: float = Field(2.0, description="seconds between looks")
    once: bool = Field(False, description="look once and stop")
    tensorboard: str = Field("", description="folder to which records are logged for TensorBoard as they appear")


class DoctorSettings(Settings):
    """What `orograph doctor` takes."""

    data_dir: str = Field("auto", description="where IDX files lie; auto is $OROGRAPH_DATA")
