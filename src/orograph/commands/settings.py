"""What a user chooses of the commands that carry runs in and out; imports no torch."""

from typing import Annotated, Literal

import tyro
from pydantic import Field, field_validator, model_validator

from orograph.data.names import DATASETS
from orograph.errors import ConfigurationError
from orograph.measures.settings import MeasuresSettings, chosen, named_blocks
from orograph.memory import DEFAULT_MEMORY, parse_bytes
from orograph.models.names import ACTIVATIONS, MODELS
from orograph.settings.base import MOST_PARALLEL, MOST_SEED, Settings, group, require_range
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings, NumericsSettings, ParallelExecution
from orograph.settings.words import POINTS, SEEDS, Auto, Count, Integers, Numbers, Words
from orograph.sweep.settings import AnchorSettings

MOST_PAIRS = 1_000_000
MOST_PROBES = 1_000_000
_RUN = "the directory of a sweep or a study"


class ExportSettings(Settings):
    """What `orograph export` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    to: Literal["csv", "parquet", "netcdf", "latex"] = Field("csv", description="a table, all arrays, or a table for a paper")
    out: Auto = Field(None, description="the file to write; auto is NAME.csv, .parquet, .nc or .tex beside the run's directory")
    vectors: bool = Field(False, description="of netcdf: with θ, gradients and eigenvectors, which are large")
    columns: Words = Field((), description="of latex: columns by their names in the CSV; left out, a few usual ones")
    seeds: Integers = Field((), description=SEEDS)
    points: Words = Field((), description=POINTS)

    @model_validator(mode="after")
    def _possible(self) -> "ExportSettings":
        if self.vectors and self.to != "netcdf":
            raise ConfigurationError(f"`vectors` do not fit into {self.to}; add `to` netcdf or leave it out")
        if self.columns and self.to != "latex":
            raise ConfigurationError(f"`columns` are chosen of a table for a paper, and {self.to} has all; add `to` latex")
        return self


class ImportExecution(Settings):
    """Where artifacts come from and go to."""

    out: Auto = Field(None, description="the run to make; auto is runs/<name of the folder>")
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    quiet: bool = Field(False, description="no progress")


class ImportSettings(Settings):
    """What `orograph import` takes: where the files lie, and what they are of, which files do not say."""

    folder: tyro.conf.Positional[str] = Field("", description="a folder that holds published artifacts, or their test_data")
    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    problem: ProblemSettings = group(ProblemSettings)
    anchor: AnchorSettings = group(AnchorSettings)
    hessian: Literal["loss", "objective"] = Field("loss", description="whose eigenpairs the files hold: of L, or of L_eff")
    which: Literal["LM", "LA", "SA", "BE"] = Field(
        "LM", description="which they are: largest magnitude, largest, smallest, both ends"
    )
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ| of a converged pair")
    numerics: NumericsSettings = group(NumericsSettings)
    execution: ImportExecution = group(ImportExecution)


class CardSettings(Settings):
    """What `orograph card` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    out: Auto = Field(None, description="the file to write; auto is RUN/README.md")
    license: str = Field("unknown", description="under which the folder is shared, as an SPDX identifier such as cc-by-4.0")


class LaterExecution(Settings):
    """How what is done with a run is done; not part of the run."""

    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    dry_run: bool = Field(False, description="print what there is to do and what it costs, and stop")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the summary as JSON")
    parallel: Literal["none", "processes", "dask", "ray"] = Field("none", description="where networks are trained and measured")
    jobs: int = Field(0, description="workers; 0 is one for every --threads cores")
    address: str = Field("", description="of a running Dask scheduler or Ray cluster; else a local one is started")

    def of(self, run: str) -> ParallelExecution:
        """The same as a sweep takes it.

        Args:
            run: its directory.

        Returns:
            Where the work is done, and into what.
        """
        return ParallelExecution.model_validate({**self.model_dump(), "out": run})

    @model_validator(mode="after")
    def _possible(self) -> "LaterExecution":
        self.of(".")
        return self


class ExtendSettings(Settings):
    """What `orograph extend` takes: what is added to a sweep."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep")
    strengths: Numbers = Field((), description="strengths λ to add")
    seeds: Integers = Field((), description="seeds to add")
    direction: Literal["same", "up", "down", "both"] = Field("same", description="also climb the ladder, descend it, or both")
    k: int = Field(0, description="so many eigenpairs at every point, in place of the fewer that there are; 0 for as many")
    execution: LaterExecution = group(LaterExecution)

    @model_validator(mode="after")
    def _possible(self) -> "ExtendSettings":
        if self.k < 0:
            raise ConfigurationError(f"`k` {self.k} must be at least 0")
        if self.k and (self.strengths or self.seeds or self.direction != "same"):
            raise ConfigurationError(
                f"`k` {self.k} is measured at the points that there are; add further points by a second command"
            )
        return self


class RedoSettings(Settings):
    """What `orograph redo` takes: which points of a sweep are made again."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep")
    strengths: Numbers = Field((), description="strengths λ of the points")
    seeds: Integers = Field((), description="seeds of the points; left out, all")
    direction: Literal["any", "up", "down"] = Field("any", description="of the ladder on which they lie")
    execution: LaterExecution = group(LaterExecution)


class JoinSettings(Settings):
    """What `orograph join` takes."""

    runs: tyro.conf.Positional[tuple[str, ...]] = Field((), description="directories of sweeps that differ in their points alone")
    out: str = Field("", description="the run to make")
    dry_run: bool = Field(False, description="print what there is to do, and stop")
    quiet: bool = Field(False, description="no progress")


class WatchSettings(Settings):
    """What `orograph watch` takes."""

    run: tyro.conf.Positional[str] = Field("", description=_RUN)
    every: float = Field(2.0, description="seconds between looks")
    once: bool = Field(False, description="look once and stop")
    tensorboard: str = Field("", description="folder to which records are logged for TensorBoard as they appear")


class DoctorSettings(Settings):
    """What `orograph doctor` takes."""

    run: tyro.conf.Positional[str] = Field("", description="a run to look through for damage, instead of this installation")
    repair: bool = Field(False, description="of a run: restore what has a copy, and mark the rest to be made again")
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA")


class VerifySettings(Settings):
    """What `orograph verify` takes."""

    dtype: Literal["float64", "float32"] = Field("float64", description="arithmetic; float32 is held to its rounding")
    out: Auto = Field(None, description="keep the runs in this folder; auto removes them")
    quiet: bool = Field(False, description="no progress")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the numbers as JSON")


class MeasureSettings(Settings):
    """What `orograph measure` takes."""

    checkpoint: tyro.conf.Positional[str] = Field("", description="a .pth or .safetensors state dict of the model")
    model: str = Field("mlp", description=f"a name ({', '.join(MODELS)}), or module:factory of your own")
    widths: Integers = Field((128, 128), description="widths of the hidden layers of mlp and deep-linear")
    activation: str = Field("sigmoid", description=f"activation of mlp: {', '.join(ACTIVATIONS)}")
    data: str = Field("mnist-5k", description=f"a name ({', '.join(DATASETS)}), or module:loader that gives batches")
    subset_size: Count = Field(None, description="a stratified subset of so many images of a named set")
    singular_values: Numbers = Field((), description="of linear-teacher: of its correlation of inputs and outputs")
    loss: str = Field("cross_entropy", description="squared, a function of torch.nn.functional, or module:function")
    metrics: Words = Field((), description="also these: names or module:metric; left out, none, with groups those that fit")
    groups: str = Field("", description="the metrics by group, too: module:function that gives each sample of a batch its group")
    measures: Words = Field(
        (), description=f"{MeasuresSettings.model_fields['measures'].description}; topology is of a surface: study --2d-slice"
    )
    blocks: Words = Field(
        (), description="of layers and llc-layers: named groups as early=fc1.*,late=fc2.*,late=fc3.*; left out, each module"
    )
    sampler: Literal["sgld", "rmsprop"] = Field(
        "sgld", description="of llc, llc-layers and --llc-scan; rmsprop is preconditioned"
    )
    kfac: Literal["kfac", "ekfac"] = Field("kfac", description="which Kronecker factors the measure kfac is of")
    llc_scan: bool = Field(
        False,
        description="the learning coefficient at twelve temperatures and steps, with a picture: as long as llc twelve times",
    )
    k: int = Field(30, description="eigenpairs")
    which: Literal["LM", "LA", "SA", "BE"] = Field("LM", description="largest magnitude, largest, smallest, both ends")
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ|")
    probes: int = Field(6, description="random vectors of the density, of 80 products each")
    trace_probes: int = Field(16, description="random vectors of the trace, of 2 products each")
    parameters: str = Field("*", description="globs of the parameters that make up θ, as fc1.*,fc2.*")
    memory: str = Field(DEFAULT_MEMORY, description="budget for activations and what the Hessian keeps of them")
    dtype: Literal["float32", "float64"] = Field("float32", description="arithmetic")
    threads: int = Field(0, description="threads; 0 takes every core")
    seed: int = Field(0, description="seed of the random vectors")
    out: Auto = Field(
        None,
        description="where to write STEM.json, .png and .pdf, or a folder; auto is the checkpoint's path and -measured; "
        "for a file of a run it is beside the run",
    )
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the numbers as JSON")

    @field_validator("measures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return chosen(names)

    @model_validator(mode="after")
    def _possible(self) -> "MeasureSettings":
        named_blocks(self.blocks)
        asked = {*self.measures, *(["llc_scan"] if self.llc_scan else [])}
        for name, changed, users in (  # else they would change nothing, without a word
            ("blocks", bool(self.blocks), ("layers", "llc-layers")),
            ("sampler", self.sampler != "sgld", ("llc", "llc-layers", "llc_scan")),
            ("kfac", self.kfac != "kfac", ("kfac",)),
        ):
            if changed and not asked & set(users):
                also = " or `llc_scan`" if "llc_scan" in users else ""
                raise ConfigurationError(
                    f"`{name}` changes nothing here; give `measures` {users[0]}{also} with it, or leave it out"
                )
        require_range("threads", self.threads, 0, MOST_PARALLEL)
        require_range("seed", self.seed, 0, MOST_SEED)
        require_range("k", self.k, 1, MOST_PAIRS)
        require_range("probes", self.probes, 2, MOST_PROBES)
        require_range("trace_probes", self.trace_probes, 2, MOST_PROBES)
        parse_bytes(self.memory)
        if any(width < 1 for width in self.widths):
            raise ConfigurationError(f"`widths` {','.join(map(str, self.widths))} must all be at least 1")
        return self
