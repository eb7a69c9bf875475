"""What a page needs of the results it shows: those of older runs carry no seal, and may be anybody's.

Only what the scripts take apart is asked for; what they merely print may be missing, and more may be there.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from orograph.errors import RunError

Number = StrictInt | StrictFloat | StrictBool | Literal["Infinity", "-Infinity"] | None  # as the store writes NaN and infinities
Pair = tuple[Number, Number]
Numbers = list[Number]
Text = StrictStr | None


class Change(TypedDict):
    strength: Number
    low: Number
    high: Number
    kind: Text


class Judgement(TypedDict):
    order: Text
    low: Number
    high: Number


class Transition(TypedDict):
    change: Change
    judgement: Judgement


class Meeting(TypedDict):
    kind: Text
    strength: Number
    value: Number


class Coincidence(TypedDict):
    counts: Pair


class Chain(TypedDict):
    seed: StrictInt
    direction: StrictStr
    meetings: list[Meeting]
    transitions: list[Transition]
    changes: dict[str, list[Change]]
    coincidences: list[Coincidence]
    class_relations: list[dict[str, Any]]


class Spinodal(TypedDict):
    estimate: Number


class Loop(TypedDict):
    seed: StrictInt
    spinodal_up: Spinodal
    spinodal_down: Spinodal
    escape_up: Pair
    escape_down: Pair
    barrier: dict[str, Any]


class Analysis(TypedDict):
    """Of `analysis.json`."""

    chains: list[Chain]
    loops: list[Loop]
    loop_areas: list[dict[str, Any]]
    commands: dict[str, Text]
    left_out: NotRequired[list[StrictStr]]


class Data(TypedDict):
    name: StrictStr
    train_images: StrictInt
    test_images: NotRequired[StrictInt]


class Named(TypedDict):
    name: StrictStr


class Row(TypedDict):
    configuration: StrictStr
    seed: StrictInt
    status: StrictStr
    failures: NotRequired[dict[str, Any]]
    measured: NotRequired[dict[str, Any]]
    block_names: NotRequired[Text]


class Course(TypedDict):
    epoch: Numbers
    lambda_max: Numbers
    stability: NotRequired[Numbers]
    edge: NotRequired[Numbers]
    flow_sharpening: NotRequired[Numbers]
    central_oscillation: NotRequired[Numbers]
    oscillation: NotRequired[Numbers]


class History(TypedDict):
    configuration: StrictStr
    seed: StrictInt
    epoch: NotRequired[Numbers]
    curvature: NotRequired[Course]


class Way(TypedDict):
    positions: Numbers
    train_loss: Numbers
    test_loss: NotRequired[Numbers]
    train_accuracy: NotRequired[Numbers]
    test_accuracy: NotRequired[Numbers]


class Entry(TypedDict):
    kind: StrictStr
    configuration: StrictStr
    name: StrictStr
    status: StrictStr


class Curve(Entry):
    paths: NotRequired[dict[str, Way]]
    failures: NotRequired[dict[str, Any]]


class SurfaceArrays(TypedDict):
    x: NotRequired[Numbers]
    y: NotRequired[Numbers]
    train_loss: NotRequired[list[Numbers]]
    test_loss: NotRequired[list[Numbers]]
    train_accuracy: NotRequired[list[Numbers]]
    test_accuracy: NotRequired[list[Numbers]]
    marks: NotRequired[list[Numbers]]
    path: NotRequired[list[Numbers]]
    smad_null: NotRequired[Numbers]


class Surface(Entry):
    surface_barriers: NotRequired[Numbers]
    arrays: NotRequired[SurfaceArrays]


class SpectrumArrays(TypedDict):
    eigenvalues: NotRequired[Numbers]
    density_grid: NotRequired[Numbers]
    density_values: NotRequired[Numbers]


class Spectrum(TypedDict):
    configuration: StrictStr
    seed: StrictInt
    arrays: NotRequired[SpectrumArrays]


class Rate(TypedDict):
    configuration: StrictStr
    chosen: Number
    candidates: Numbers


class Coefficient(TypedDict):
    value: Number


class Relation(TypedDict):
    metric: StrictStr
    target: StrictStr
    spearman: Coefficient
    kendall: Coefficient
    pearson: Coefficient


class Correlations(TypedDict):
    table: NotRequired[list[Relation]]
    targets: NotRequired[list[StrictStr]]
    note: NotRequired[Text]


class Results(TypedDict):
    """Of the results of a study."""

    data: Data
    configurations: list[Named]
    varied: list[StrictStr]
    metrics: list[Row]
    histories: NotRequired[list[History]]
    curves: NotRequired[list[Curve]]
    surfaces: NotRequired[list[Surface]]
    spectra: NotRequired[list[Spectrum]]
    instability: NotRequired[list[Entry]]
    learning_rates: NotRequired[list[Rate]]
    correlations: NotRequired[Correlations]
    left_out: NotRequired[list[StrictStr]]


class Corner(TypedDict):
    strength: Number


class Stretch(TypedDict):
    name: StrictStr
    index: StrictInt | None
    points: StrictInt
    low: Corner
    high: Corner
    begins: Text
    ends: Text


class Envelope(TypedDict):
    largest_difference: Number
    integral_error: Number
    range: Number


class Branch(TypedDict):
    name: StrictStr
    points: StrictInt
    envelope: Envelope | None
    work: NotRequired[Numbers | None]


class BranchAnalysis(TypedDict):
    stretches: list[Stretch]
    maxwell: list[dict[str, Any]]
    lost_classes: list[dict[str, Any]]
    branches: list[Branch]


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def require(shape: Any, content: Any, path: Path, again: str) -> dict[str, Any]:
    """The content of a file that has a shape.

    Args:
        shape: `Analysis`, `BranchAnalysis` or `Results`.
        content: as it was decoded.
        path: of the file.
        again: the command that writes it again.

    Raises:
        RunError: something that the page takes apart is missing or of another kind.
    """
    try:
        _adapter(shape).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise RunError(f"{path} is damaged: '{place}' is missing or of the wrong kind; write it again by: {again}.") from None
    found: dict[str, Any] = content
    return found
