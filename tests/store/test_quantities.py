"""The registry of quantities: all that is recorded is in it, records of before are read by it, and nobody has another."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import orograph
from orograph.analysis import command
from orograph.analysis.comparisons import LoopAreas
from orograph.cli import main
from orograph.geometry.correlation import Coefficient
from orograph.ladder.barrier import BranchBarrier
from orograph.ladder.branches import Meeting
from orograph.ladder.changes import ChangePoint
from orograph.ladder.hysteresis import Comparison, Loop, Spinodal
from orograph.ladder.relations import ClassRelation
from orograph.ladder.thermodynamics import Envelope
from orograph.ladder.transitions import Coincidence, Judgement
from orograph.measures.measurement import measure
from orograph.store.encoding import decode
from orograph.store.findings import FindingKey, read_findings, write_finding
from orograph.store.former import FORMER
from orograph.store.kinds import wrong_field
from orograph.store.lookup import ENTRIES, TABLES, described, find, heading, in_order, quantity, with_role
from orograph.store.measure_quantities import MEASURES
from orograph.store.quantities import COORDINATES, QUANTITIES
from orograph.store.run import Run
from orograph.study.grid import VARIABLE

SOURCE = Path(orograph.__file__).parent
SMALL = ("--dataset", "digits", "--subset-size", "60", "--threads", "1", "--quiet")
SWEEP = ("--widths", "3", "--epochs", "1", "--k", "3", "--strengths", "0.01,0.02", "--polish-tolerance", "1e-3")
ANALYSIS = (
    "--probes",
    "3",
    "--images",
    "2",
    "--path-steps",
    "10",
    "--resamples",
    "19",
    "--density",
    "--density-probes",
    "2",
    "--quiet",
)
STUDY = (
    "--model",
    "MLP1",
    "--hidden-size",
    "3",
    "--epochs",
    "2",
    "--num-seeds",
    "3",
    "--path-epochs",
    "1",
    "--curve-points",
    "3",
)
PLOTS = (
    "--fast",
    "--2d-slice",
    "--slice-points",
    "3",
    "--spectrum-plot",
    "--keep-eigenvectors",
    "--slice-directions",
    "eigenvector",
)


# What a file of results holds beside quantities: settings and where it was made.
NO_QUANTITIES = (
    *("format", "version", "configuration", "numerics", "data", "run", "of", "settings"),
    *("versions", "hardware", "commands"),
)
COORDINATES_OF_MEASURES = ("block", "training_class", "sample_rank")
# The results that an analysis writes into its file, by where they stand there.
RESULTS = {
    "envelope": Envelope,
    "meetings": Meeting,
    "changes.*": ChangePoint,
    "change": ChangePoint,
    "judgement": Judgement,
    "coincidences": Coincidence,
    "class_relations": ClassRelation,
    "loops": Loop,
    "spinodal_up": Spinodal,
    "spinodal_down": Spinodal,
    "rate": Comparison,
    "null": Comparison,
    "loop_areas": LoopAreas,
    "pearson": Coefficient,
}

# What every point has: influence is of minima alone, and KFAC needs a package.
WHEREVER = {
    name for name in MEASURES if not re.search("influence|kfac|helpful|harmful", name) and name not in COORDINATES_OF_MEASURES
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small run of each kind."""
    folder = tmp_path_factory.mktemp("made")
    patch = pytest.MonkeyPatch()
    patch.setattr(command, "draw", lambda *args: [])
    swept, study = ["sweep", *SMALL, *SWEEP], ["study", *SMALL, *STUDY]
    commands = [
        [*swept, "--direction", "both", "--polish", "--track-curvature", "1", "--out", str(folder / "sweep")],
        [
            *swept,
            "--published",
            "--hessian",
            "objective",
            "--which",
            "LA",
            "--measures",
            "all",
            "--out",
            str(folder / "published"),
        ],
        ["analyze", str(folder / "sweep"), *ANALYSIS],
        ["import", str(folder / "sweep/test_data"), *SMALL, "--widths", "3", "--out", str(folder / "imported")],
        [
            *study,
            *PLOTS,
            "--lr",
            "0.01",
            "--track-curvature",
            "1",
            "--instability",
            "1",
            "--measures",
            "all",
            "--out",
            str(folder / "study"),
        ],
        [*study, "--fast", "--compare-optimizers", "--paths", "none", "--num-seeds", "1", "--out", str(folder / "compared")],
    ]
    for words in commands:
        assert main(words) == 0, words
    patch.undo()
    return folder


def names(values: Any, path: str = "") -> Iterator[str]:
    """The names of all numbers and texts in a record, dotted where they lie in mappings."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from names(value, f"{path}.{name}" if path else name)
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        for value in values:
            yield from names(value, path)
    elif path and values != []:
        yield path


def recorded(run: Run) -> set[str]:
    """All that a run records, at points and beside them."""
    found = set()
    for record in run.records.values():
        found |= set(names(record.scalars))
    for finding in run.findings.values():
        found |= set(names(finding.scalars)) | set(finding.arrays(run.path))
    return found | set(run.arrays.names())


def unknown(found: set[str]) -> list[str]:
    return sorted(name for name in found if find(name) is None or not find(name).long_name or not find(name).units)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "published", "imported", "study", "compared"])
def test_everything_that_a_run_records_is_in_the_registry(made: Path, kind: str) -> None:
    found = recorded(Run.open(made / kind))
    assert len(found) > 20
    assert unknown(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "published", "imported", "study", "compared"])
def test_every_text_and_list_that_a_run_records_is_known_as_one(made: Path, kind: str) -> None:
    run = Run.open(made / kind)
    scalars = [record.scalars for record in (*run.records.values(), *run.findings.values())]
    assert len(scalars) >= 2
    assert [wrong for each in scalars if (wrong := wrong_field(each))] == []


@pytest.mark.slow
def test_the_runs_record_what_is_correlated_and_what_an_analysis_finds(made: Path) -> None:
    """So that the check above can fail."""
    study, sweep = recorded(Run.open(made / "study")), recorded(Run.open(made / "sweep"))
    assert {name for name, each in QUANTITIES.items() if each.role and "*" not in name} <= study
    assert {
        "objective_lambda_min",
        "frobenius_square",
        "density",
        "history.lambda_max",
        "polish_distance",
    } <= sweep
    assert {"paths.band.barriers.train_loss", "measured.level", "products.spent", "bezier_bend", "direction_cosine"} <= study
    assert not {"lambda_min", "squared_trace", "index"} & sweep
    assert {"surface_minima", "largest_persistence", "smad"} <= study
    for kind in ("published", "study"):
        assert WHEREVER - {"sharpening_oscillation"} <= recorded(Run.open(made / kind))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["study/landscape_analysis_results.json", "sweep/analysis.json"])
def test_everything_that_a_file_of_results_holds_is_in_the_registry(made: Path, path: str) -> None:
    results = decode(made / path)
    found = set(names({name: value for name, value in results.items() if name not in NO_QUANTITIES}))
    assert len(found) > 30
    assert {"correlations.table.pearson.value", "chains.envelope.defect"} & found
    assert unknown(found) == []


@pytest.mark.parametrize(("prefix", "result"), RESULTS.items(), ids=RESULTS)
def test_every_field_of_what_an_analysis_finds_is_in_the_registry(prefix: str, result: type) -> None:
    """Few of them are found in runs so small."""
    found = {field.name for field in fields(result)} - set(COORDINATES)
    assert [name for name in sorted(found) if f"{prefix}.{name}" not in ENTRIES] == []
    assert unknown({f"{prefix}.{name}" for name in found}) == []


@pytest.mark.slow
def test_everything_that_a_measurement_holds_is_in_the_registry() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    data = [(torch.randn(9, 3).double(), torch.randint(0, 2, (9,)))]
    found = measure(
        model, torch.nn.functional.cross_entropy, data, k=3, probes=3, steps=10, trace_probes=4, measures=["all"]
    ).fields()
    assert unknown(set(names(found))) == []
    assert set(names(found)) >= WHEREVER
    assert wrong_field({name: value for name, value in found.items() if name in MEASURES}) is None


def test_everything_that_is_recorded_of_the_barrier_of_a_loop_is_in_the_registry() -> None:
    """No loop opens in runs so small."""
    assert unknown({f"barrier_{field.name}" for field in fields(BranchBarrier)} | {"barrier_best"}) == []


def test_losses_and_their_differences_are_in_nats() -> None:
    for name in ("noise_loss_rise", "linear_barrier", "train_loss", "gap", "sharpness_sampled", "noise_loss_rise_error"):
        assert quantity(name).units == "nat", name
    for name in ("test_accuracy", "class_accuracy", "ensemble_accuracy"):
        assert quantity(name).units == "%", name


def test_a_name_in_a_mapping_means_what_is_said_of_it_there() -> None:
    assert quantity("train_loss").long_name == "training loss L"
    assert quantity("paths.band.barriers.train_loss").long_name == "barrier of the training loss"
    assert quantity("history.lambda_max").long_name != quantity("lambda_max").long_name
    assert quantity("paths.band.test_loss") == quantity("test_loss")


def test_families_errors_and_entries_of_lists_are_derived_from_what_declares_them() -> None:
    assert quantity("effective_rank_top_7").long_name == "effective rank of 7 pairs"
    assert quantity("trace_error").long_name == "standard error: trace of the Hessian"
    assert quantity("eigenvalues") == quantity("eigenvalue")
    assert quantity("class_accuracy_cat").long_name == "test accuracy of a class, class cat"
    assert quantity("eigenvalue_2").long_name == quantity("eigenvalues_2").long_name == "Hessian eigenvalue, eigen 2"
    undeclared = (
        "effective_rank_top",
        "lambda_max_error",
        "trace_2",
        "unheard_of",
        "gradient_frobenius_norm",
        "eigenvalue_spread",
    )
    for name in (*undeclared, "eigenvalue_", "theta_-1", "class_accuracy_"):
        assert find(name) is None, name
    assert quantity("unheard_of").long_name == "unheard of"  # what users record beside


def test_metrics_come_in_the_order_of_the_registry_and_others_after_it() -> None:
    given = ["train_loss", "effective_rank_top_9", "mine", "trace", "test_loss", "flatness_measure"]
    assert with_role("metric", given) == ["flatness_measure", "trace", "effective_rank_top_9", "train_loss"]
    assert with_role("target", given) == ["test_loss"]
    assert in_order(["mine", "trace", "test_loss"]) == ["test_loss", "trace", "mine"]


def test_tables_and_settings_are_made_of_quantities_that_are_known() -> None:
    for table, columns in TABLES.items():
        assert [name for name in columns if find(name) is None] == [], table
    assert [name for name in VARIABLE if find(name) is None] == []
    assert [name for former in FORMER.values() for name in former.values() if find(name) is None] == []
    assert heading("test_accuracy") == "test acc. %"
    page = described(["mine"])
    assert page["mine"] == {"label": "mine", "heading": "mine", "units": "1"}
    assert set(page) == {name for name in ENTRIES if "*" not in name} | {"mine"}


def test_a_finding_of_before_is_read_by_the_names_of_now(tmp_path: Path) -> None:
    for kind, former in FORMER.items():
        before = {name: float(place) for place, name in enumerate(former)} | {"trace": -1.0}
        write_finding(tmp_path, FindingKey(kind, "0", "0.1"), "done", before, {})
    found = read_findings(tmp_path)
    for kind, former in FORMER.items():
        scalars = found[FindingKey(kind, "0", "0.1")].scalars
        assert [scalars[name] for name in former.values()] == [float(place) for place in range(len(former))]
        assert set(scalars) == {*former.values(), "trace"}


def test_a_name_of_before_is_not_written_any_more_where_it_meant_something_else() -> None:
    """`lambda_min` of a minimum is that of L, and stays."""
    assert "minimum" not in FORMER


def labels_of(text: str) -> list[str]:
    """Names of quantities to which a script gives a text, `name: "text"` or `["name", "text"]`; `class` and `step` are HTML's."""
    pairs = re.findall(r"""["']?(\w+)["']?: ["'`]([^"'`]+)["'`]|\[["'](\w+)["'], ["']([^"']+)["']\]""", text)
    given = [(name or other, text or word) for name, text, other, word in pairs]
    return [name for name, word in given if name not in ("class", "step") and find(name) is not None and find(word) is None]


@pytest.mark.parametrize("path", sorted((SOURCE / "report" / "assets").glob("*.js")), ids=lambda path: path.name)
def test_scripts_of_the_report_have_no_names_of_quantities_of_their_own(path: Path) -> None:
    assert labels_of(path.read_text(encoding="utf-8")) == []


def test_a_list_of_names_in_a_script_would_be_found() -> None:
    assert labels_of('const LABELS = { train_loss: "train L" };') == ["train_loss"]
    assert labels_of('columns: [["objective", "L_eff"], ["from", "to"]]') == ["objective"]


PYTHON = [
    *(SOURCE / "figures").glob("*.py"),
    *(SOURCE / "report").glob("*.py"),
    SOURCE / "study/progress.py",
    SOURCE / "study/tables.py",
]
PYTHON += [
    SOURCE / "study/relations.py",
    SOURCE / "sweep/progress.py",
    SOURCE / "sweep/tables.py",
    SOURCE / "commands/exporting.py",
    SOURCE / "commands/measure.py",
]


@pytest.mark.parametrize("path", sorted(PYTHON), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_figures_and_tables_have_no_names_of_quantities_of_their_own(path: Path) -> None:
    """No mapping from names of quantities to words; how a number is written (`{:.4f}`) is no word."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            texts = [key, value]
            if all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in texts):
                name, text = (each.value for each in texts)
                if find(name) is not None and not text.startswith("{"):
                    found.append(name)
    assert found == []


WORDS = {text for each in ENTRIES.values() for text in (each.long_name, each.symbol, each.short, each.units)} - {"", "1"}
WORDS |= {"percent", "degrees", "loss", "mean cross-entropy", "strength λ"}  # and what has stood there
AXES = {"xlabel", "ylabel", "set_xlabel", "set_ylabel", "set_label"}


def words_on_axes(source: str) -> list[str]:
    """What Python writes on axes itself although the registry says it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        given = [each.value for each in node.keywords if each.arg in AXES]
        if isinstance(node.func, ast.Attribute) and node.func.attr in AXES:
            given += node.args[:1]
        found += [each.value for each in given if isinstance(each, ast.Constant) and each.value in WORDS]
    return found


def words_on_a_scripts_axes(text: str) -> list[str]:
    return [word for word in re.findall(r"""(?:axis\(|signedScale\(\w+, )["'`]([^"'`]+)["'`]""", text) if word in WORDS]


@pytest.mark.parametrize("path", sorted((SOURCE / "figures").glob("*.py")), ids=lambda path: path.name)
def test_figures_take_the_words_and_units_of_axes_from_the_registry(path: Path) -> None:
    assert words_on_axes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((SOURCE / "report" / "assets").glob("*.js")), ids=lambda path: path.name)
def test_scripts_take_the_words_and_units_of_axes_from_the_registry(path: Path) -> None:
    assert words_on_a_scripts_axes(path.read_text(encoding="utf-8")) == []


def test_words_on_axes_would_be_found() -> None:
    written = 'axes.set(title="Loss", ylabel="percent"); axes.set_xlabel("epoch"); axes.set_ylabel(label("trace"))'
    assert words_on_axes(written) == ["percent", "epoch"]
    assert words_on_a_scripts_axes('y: axis("λ_max"), x: axis(word("epoch")), signedScale(all, "R")') == ["λ_max", "R"]
