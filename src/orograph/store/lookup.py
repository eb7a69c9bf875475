"""What the registry of quantities says of a name: its entry, the order in which names are shown, and the columns of tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from orograph.errors import ConfigurationError
from orograph.metrics import METRICS, Metric
from orograph.store.branch_quantities import BRANCHES
from orograph.store.connection_quantities import CONNECTIONS, WAYS
from orograph.store.escape_quantities import ESCAPES
from orograph.store.measure_quantities import MEASURES
from orograph.store.quantities import QUANTITIES, Quantity, Role
from orograph.store.scores import OF_AN_OUTPUT, SCORES, of_metric
from orograph.store.summaries import SUMMARIES
from orograph.store.topology_quantities import TOPOLOGY
from orograph.store.wording import Wording

USUAL = Wording()
_NARROW = 6  # letters of a heading that stay on one line
ENTRIES = QUANTITIES | MEASURES | SUMMARIES | SCORES | BRANCHES | ESCAPES | CONNECTIONS | TOPOLOGY
BARRIERS = tuple(f"{name}_barrier" for name in WAYS)

# The columns that tables show of what there is, in this order; files hold all.
TABLES = {
    "points": (
        *("ID", "L2_strength", "status", "train_loss", "objective", "test_loss", "test_accuracy", "objective_gradient_norm"),
        *("lambda_first", "lambda_last", "epochs", "frozen", "certificate"),
    ),
    "point": (
        *("train_loss", "objective", "test_loss", "train_accuracy", "test_accuracy", "gradient_norm", "objective_gradient_norm"),
        *("anchor_distance", "scalar_curvature", "objective_lambda_min", "epochs"),
    ),
    "certificates": (
        *("chain", "strength", "certificate", "certified_gradient_norm", "gradient_norm_limit", "objective_lambda_min"),
        *("objective_lambda_min_residual", "objective_negative_eigenvalues", "objective_negative_eigenvalues_lower_bound"),
    ),
    "configurations": (
        *("test_accuracy", "test_loss", "lambda_max", "trace", "flatness_measure", "gradient_norm"),
        *BARRIERS,
    ),
    "minima": (
        *("configuration", "seed", "status", "test_accuracy", "test_loss", "gap", "lambda_max", "lambda_min", "trace"),
        *("flatness_measure", "sharpness_best_found", "gradient_norm"),
    ),
    "pairs": (
        *("configuration", "pair", "status", "distance", "cosine", *BARRIERS),
        *("disagreement", "ensemble_accuracy", "ensemble_gain"),
    ),
    "crossings": (
        *("chain", "meetings.kind", "strength", "meetings.value", "meetings.gap", "meetings.exchange"),
        *("meetings.first", "meetings.second"),
    ),
    "transitions": (
        *("chain", "strength", "change.low", "change.high", "change.kind", "change.jump", "change.p_value", "judgement.order"),
        *("change.adjusted", "change.evidence", "judgement.interval", "judgement.exponent", "judgement.inserted"),
    ),
    "changes": (
        *("chain", "change.quantity", "strength", "change.low", "change.high", "change.kind", "change.jump", "change.kink"),
        *("change.p_value", "change.adjusted", "change.evidence"),
    ),
    "coincidences": (
        "chain",
        *(f"coincidences.{name}" for name in ("first", "second", "of_first", "of_second", "together", "p_value", "adjusted")),
    ),
    "classes": (
        "chain",
        *(f"class_relations.{name}" for name in ("name", "correlation", "p_value", "adjusted", "lost_at", "lost")),
    ),
    "loops": (
        "seed",
        *(f"loops.{name}" for name in ("low", "high", "maxwell", "spinodal_up", "spinodal_down", "escape_up", "escape_down")),
        *("loops.area", "loops.accuracy_area", "barrier_best", "loops.barrier_at"),
    ),
    "branch": (
        *("branch_name", "point", "strength", "order_parameter", "train_loss", "objective", "test_loss", "test_accuracy"),
        *("objective_negative_eigenvalues", "objective_lambda_min", "objective_gradient_norm", "products"),
    ),
    "events": (
        "branch_name",
        "event_kind",
        "strength",
        "order_parameter",
        "objective",
        "event_eigenvalue",
        "kernel_size",
        "after",
    ),
    "wells": (
        *("strength", "order_parameter", "objective", "other_order_parameter", "other_objective", "crossing", "height"),
        *("barrier_source", "top_objective", "top_order_parameter", "objective_lambda_max", "objective_gradient_norm"),
    ),
    "escapes": (
        *("strength", "batch_size", "lr", "temperature", "chains", "escaped", "diverged", "mean_time", "rate"),
        *("weibull_shape", "weibull_p_value", "checked", "led_across", "led_nowhere"),
    ),
    "connections": (
        *("path_name", "length", *(f"barriers.{name}" for name in ("train_loss", "test_loss", "train_error", "test_error"))),
        *("barriers.largest_test_loss", "lost", "found", "spent_products"),
    ),
    "loop_areas": ("seed", "loops.area", "loop_areas.rate", "loop_areas.null"),
}

# Field names that no metric may make, in small letters: what is recorded anyway, and what would be read as L_eff.
_TAKEN = {*map(str.lower, QUANTITIES | MEASURES | SUMMARIES | SCORES), "train_reg_loss", "train_objective"}
_BY_GROUP = ("class_", "group_")  # which a metric's values by group have before its name
_LISTED = {each.listed: name for name, each in ENTRIES.items() if each.listed}
_FAMILIES = {name: name.split("*") for name in ENTRIES if "*" in name}  # what stands before the member's own words, and after


def declare(metrics: Iterable[Mapping[str, str]], lists: Collection[str] = ()) -> None:
    """Enters the metrics of one's own that a run records, with the label and the unit that it keeps of them.

    Args:
        metrics: facts of each.
        lists: names of those that are a number for each output.
    """
    for each in metrics:
        if each["name"] not in METRICS:
            ending = OF_AN_OUTPUT if each["name"] in lists else ""
            ENTRIES.update(of_metric(each["name"], each["label"].removesuffix(ending) + ending, each["unit"]))


def require_free_names(metrics: Sequence[Metric]) -> None:
    """Refuses metrics whose values would be recorded under the name of something else, or of each other.

    Args:
        metrics: of a new run. One that has the name of a built-in metric stands in its place.

    Raises:
        ConfigurationError: naming the field.
    """
    taken: dict[str, str] = {}
    for each in metrics:
        own = METRICS.get(each.name)
        usual = of_metric(each.name, own.long_name, own.unit) if own else {}
        fields = of_metric(each.name, each.long_name, each.unit)
        clash = next((name for name in fields if name.lower() in _TAKEN and name not in usual), None)
        if clash is None and each.name.lower().startswith(_BY_GROUP):
            clash = f"train_{each.name}"
        if clash is not None:
            raise ConfigurationError(
                f"`metrics` {each.name}: its values would be recorded as {clash}, which is reserved; give it another name."
            )
        other = next((taken[name.lower()] for name in fields if name.lower() in taken), None)
        if other is not None:
            raise ConfigurationError(
                f"`metrics` {other} and {each.name} would be recorded under one name; give one of them another, which does not "
                "differ in capital letters alone."
            )
        taken |= dict.fromkeys(map(str.lower, fields), each.name)


def quantity(name: str) -> Quantity:
    """What is known of a quantity; for a name that nobody entered, the name in words."""
    found = find(name)
    return found if found is not None else Quantity(name.replace("_", " "))


def find(path: str) -> Quantity | None:
    """What is known of a name, dotted where it lies in mappings of a record; None where nobody entered it.

    Members of a family (`effective_rank_top_10`), standard errors (`trace_error`) and entries of a list (`eigenvalue_3`, by class
    `class_accuracy_cat`) are told by the entry that declares them.
    """
    name, entry = _entry(path)
    if entry is None:
        return None
    known = ENTRIES[entry]
    if entry in _FAMILIES:
        before, after = _FAMILIES[entry]
        return replace(
            known, long_name=known.long_name.replace("*", name[len(before) : len(name) - len(after)].replace("_", " "))
        )
    if name in (entry, known.listed):
        return known
    if name == f"{entry}_error":
        return Quantity(f"standard error: {known.long_name}", known.units)
    if name == f"{entry}_margin":
        return Quantity(f"half of the 95 % interval: {known.long_name}", known.units)
    return Quantity(f"{known.long_name}, {known.dims[0]} {_place(name, entry)}", known.units)


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the registry, and then those that are not in it."""
    places = {entry: place for place, entry in enumerate(ENTRIES)}
    return sorted(names, key=lambda name: (places.get(_entry(name)[1] or "", len(places)), len(name)))


def with_role(role: Role, names: Iterable[str]) -> list[str]:
    """The names among these that have a role, in the order of the registry."""
    return [name for name in in_order(dict.fromkeys(names)) if quantity(name).role == role]


def _entry(path: str) -> tuple[str, str | None]:
    """The end of a dotted path that is known, and its entry."""
    parts = path.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts))]
    found = ((name, _known(name)) for name in ends)
    return next(((name, entry) for name, entry in found if entry is not None), (path, None))


def _known(name: str) -> str | None:
    """The entry that a name is in: its own, of its list, its family, what it is the error of, or the list it is an entry of."""
    if name in ENTRIES:
        return name
    if name in _LISTED:
        return _LISTED[name]
    families = _FAMILIES.items()
    family = next((family for family, (start, end) in families if name.startswith(start) and name.endswith(end)), None)
    if family is not None:
        return family
    of = name.removesuffix("_error").removesuffix("_margin")
    if of != name and of in ENTRIES and ENTRIES[of].error:
        return of
    return next((entry for entry, each in ENTRIES.items() if len(each.dims) == 1 and _place(name, entry)), None)


def _place(name: str, entry: str) -> str:
    """What an entry of a list has behind the name of the list: its number, or its class where the list goes by class."""
    for start in (entry, ENTRIES[entry].listed):
        place = name.removeprefix(f"{start}_")
        if start and place != name and (place.isdecimal() or ENTRIES[entry].by_class):
            return place
    return ""


def described(names: Iterable[str], wording: Wording = USUAL) -> dict[str, dict[str, str]]:
    """What a page needs to know of these and of all that the registry lists by name: label, heading and unit, in its order."""
    listed = [name for name in ENTRIES if "*" not in name]
    found = {name: wording.of(name, quantity(name)) for name in in_order(dict.fromkeys([*names, *listed]))}
    return {name: {"label": each.long_name, "heading": headed(each), "units": each.units} for name, each in found.items()}


def tables_of(metrics: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The columns that tables show of a run with these metrics, in place of the accuracy."""
    own = {f"{place}_accuracy": tuple(f"{place}_{name}" for name in metrics) for place in ("train", "test")}
    return {table: tuple(name for each in names for name in own.get(each, (each,))) for table, names in TABLES.items()}


def heading(name: str) -> str:
    """What stands above a column: short, with the sign of percent."""
    return headed(quantity(name))


def headed(known: Quantity) -> str:
    """The same of what is known of a quantity."""
    return f"{known.heading} %" if known.units == "%" else known.heading


def narrow(text: str) -> str:
    """A heading over two lines where it is longer than most numbers."""
    return text.replace(" ", "\n", 1) if len(text) > _NARROW else text
