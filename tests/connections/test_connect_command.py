"""`orograph connect` on networks of one's own. Truth: torch's own losses of networks whose weights are put in place one by one,
the closed form of ridge regression around another point, and a copy whose units were permuted by hand, to which matching leads
back.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import orograph as og
import own_problem
from orograph.cli import main
from orograph.connectivity.names import WAYS
from orograph.store.connection import CONNECTION_FILE
from orograph.store.connection_quantities import WAYS as WORDS
from orograph.store.encoding import decode
from orograph.store.lookup import find
from orograph.store.run import Run
from run_bytes import bytes_of

OWN = ("--model", "own_problem:net", "--data", "own_problem:load", "--loss", "own_problem:loss")
FEW = ("--curve-points", "5", "--path-epochs", "1", "--point-products", "10", "--threads", "1")
REGRESSION = """
import torch
def net():
    return torch.nn.Linear(3, 1, bias=False)
def load():
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(30, size, generator=generator, dtype=torch.float64) for size in (3, 1))
    return x, y
"""

OTHERS = """
import torch
from torch import nn
def net():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
def batches():
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    return [(x, x[:, :3].argmax(1))]
def side(inputs, targets):
    return ["left" if value < 0 else "right" for value in inputs[:, 3].tolist()]
"""


def trained(seed: int, steps: int = 200) -> nn.Module:
    torch.manual_seed(seed)
    model, (inputs, targets) = own_problem.net(), own_problem.data()["train"]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        own_problem.loss(model(inputs), targets).mean().backward()
        optimiser.step()
    return model


def permuted(model: nn.Module) -> dict[str, Tensor]:
    """The same function, its hidden units in the opposite order."""
    state = {name: each.clone() for name, each in model.state_dict().items()}
    state["0.weight"], state["0.bias"] = state["0.weight"].flip(0), state["0.bias"].flip(0)
    state["2.weight"] = state["2.weight"].flip(1)
    return state


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minima")
    torch.save(trained(0).state_dict(), folder / "a.pth")
    torch.save(trained(1).state_dict(), folder / "b.pth")
    torch.save(permuted(trained(0)), folder / "copy.pth")
    return folder


def words(files: Path, out: Path, *more: str, ends: tuple[str, str] = ("a.pth", "b.pth")) -> list[str]:
    return ["connect", *(str(files / each) for each in ends), *OWN, *FEW, "--out", str(out), "--quiet", *more]


@pytest.fixture(scope="module")
def made(files: Path) -> Path:
    assert main(words(files, files / "run")) == 0
    return files / "run"


def laid(files: Path, theta: Tensor) -> nn.Module:
    model = own_problem.net()
    nn.utils.vector_to_parameters(theta, model.parameters())
    return model


def test_every_curve_has_the_losses_and_classes_of_the_networks_on_it(files: Path, made: Path) -> None:
    results = decode(made / CONNECTION_FILE)
    assert set(results["paths"]) == {"linear", "bezier", "chain", "band", "aligned", "anchored"}
    assert not results["failures"]
    test_inputs, test_targets = own_problem.data()["test"]
    inputs, targets = own_problem.data()["train"]
    for name, path in results["paths"].items():
        arrays = load_file(made / f"findings/curve/between/{name}.safetensors")
        controls = arrays["path_controls"]
        assert path["length"] >= torch.linalg.vector_norm(controls[-1] - controls[0]).item() * (1 - 1e-6)
        assert path["positions"] == [0.0, 0.25, 0.5, 0.75, 1.0]
        middle = {"bezier": (controls[0] + 2 * controls[1 % len(controls)] + controls[-1]) / 4}.get(name)
        if middle is None:  # a chain: the place that its knots give
            knots = arrays["path_knots"]
            place = int(torch.searchsorted(knots, torch.tensor(0.5, dtype=knots.dtype)))
            share = ((0.5 - knots[place - 1]) / (knots[place] - knots[place - 1])).float()
            middle = (1 - share) * controls[place - 1] + share * controls[place]
        network = laid(files, middle)
        with torch.no_grad():
            assert path["train_loss"][2] == pytest.approx(own_problem.loss(network(inputs), targets).mean().item(), rel=1e-4)
            right = network(test_inputs).argmax(1) == test_targets
        by_class = [100 * right[test_targets == each].double().mean().item() for each in range(own_problem.CLASSES)]
        assert path["test_class_accuracy"][2] == pytest.approx(by_class)
        assert path["barriers"]["train_loss"] == pytest.approx(
            max(
                0.0,
                *(
                    loss - (1 - t) * path["train_loss"][0] - t * path["train_loss"][-1]
                    for t, loss in zip(path["positions"], path["train_loss"], strict=True)
                ),
            ),
            abs=1e-12,
        )


def test_the_folder_has_a_table_figures_a_page_and_labelled_arrays(made: Path) -> None:
    with open(made / "connection.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results, ds = decode(made / CONNECTION_FILE), og.open_run(made)
    assert len(rows) == 6 * 5
    for row in rows:
        place = results["paths"][row["path_name"]]["positions"].index(float(row["positions"]))
        assert float(row["train_loss"]) == results["paths"][row["path_name"]]["train_loss"][place]
        assert float(row["test_class_accuracy_2"]) == ds.test_class_accuracy.sel(path_name=row["path_name"]).values[place, 2]
    assert dict(ds.sizes) == {"path_name": 6, "position": 5, "class": 3}
    for name in ("paths.png", "paths.pdf", "classes.png", "classes.pdf"):
        assert (made / "figures" / name).is_file()
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "curves between two minima" in page
    assert '"path_name":"anchored path"' in page


def test_every_recorded_number_is_in_the_registry(made: Path) -> None:
    recorded = {f"{name}" for found in Run.open(made).findings.values() for name in found.scalars}
    recorded |= {name for path in decode(made / CONNECTION_FILE)["paths"].values() for name in path}
    assert {name for name in recorded if find(name) is None} == {"paths", "barriers"}  # mappings


def test_what_was_lost_is_computed_again_with_the_same_bytes(files: Path, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "again")
    (tmp_path / "again" / CONNECTION_FILE).unlink()
    (tmp_path / "again/report.html").unlink()
    for name in ("bezier", "band"):
        (tmp_path / f"again/findings/curve/between/{name}.json").unlink()
    assert main(words(files, tmp_path / "again")) == 0
    whole, again = bytes_of(made), bytes_of(tmp_path / "again")
    for found in (whole, again):
        found.pop("report.html")  # has the name of its folder as its title
    assert again == whole


def test_a_permuted_copy_is_reached_without_a_barrier_once_it_is_matched(files: Path, tmp_path: Path) -> None:
    assert main(words(files, tmp_path / "run", "--paths", "linear,aligned", ends=("a.pth", "copy.pth"))) == 0
    paths = decode(tmp_path / "run" / CONNECTION_FILE)["paths"]
    assert paths["linear"]["barriers"]["train_loss"] > 0.01
    assert paths["aligned"]["barriers"]["train_loss"] < 1e-6  # one network throughout: float32 losses of it
    assert paths["aligned"]["distance"] == paths["aligned"]["length"] == 0
    assert paths["aligned"]["lost"] == []


@pytest.mark.slow
def test_the_anchored_path_of_a_regression_is_the_closed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "between_regression.py").write_text(REGRESSION)
    monkeypatch.syspath_prepend(str(tmp_path))
    import between_regression  # type: ignore[import-not-found]

    x, y = between_regression.load()
    solution = torch.linalg.lstsq(x, y).solution
    other = torch.tensor([[2.0], [-1.0], [0.5]], dtype=torch.float64)
    for name, weight in (("fit", solution), ("other", other)):
        torch.save({"weight": weight.T.clone()}, tmp_path / f"{name}.pth")
    command = ["connect", str(tmp_path / "fit.pth"), str(tmp_path / "other.pth"), "--loss", "mse_loss", "--dtype", "float64"]
    own = ["--model", "between_regression:net", "--data", "between_regression:load", "--paths", "anchored", "--curve-points", "9"]
    assert main([*command, *own, "--out", str(tmp_path / "run"), "--quiet", "--threads", "1"]) == 0
    path = decode(tmp_path / "run" / CONNECTION_FILE)["paths"]["anchored"]
    controls = load_file(tmp_path / "run/findings/curve/between/anchored.safetensors")["path_controls"]
    hessian = 2 * x.T @ x / len(x)
    assert len(controls) == len(path["path_strengths"]) + 2
    assert path["critical_points"] == len(path["path_strengths"])
    for strength, theta in zip(path["path_strengths"], controls[1:-1], strict=True):
        ridge = hessian + 2 * strength * torch.eye(3)
        exact = torch.linalg.solve(ridge, hessian @ solution[:, 0] + 2 * strength * other[:, 0])
        assert torch.allclose(theta, exact, atol=1e-5)  # of a gradient of 1e-6 and a curvature of about 1
    assert path["barriers"]["train_loss"] == 0  # a convex loss, along a path that rises
    assert "train_class_accuracy" not in path  # there are no classes
    assert not (tmp_path / "run/figures/classes.png").exists()


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(files: Path, tmp_path: Path, capsys) -> None:
    assert main([*words(files, tmp_path / "run"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "43 parameters, 40 training samples" in told
    assert "anchored path" in told
    assert not (tmp_path / "run").exists()
    assert main([*words(files, tmp_path / "run"), "--dry-run", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert set(fields["seconds"]) == {"linear", "bezier", "chain", "band", "aligned", "anchored"}


@pytest.mark.slow
def test_a_curve_that_cannot_be_had_is_told_and_the_others_are_there(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "between_tied.py").write_text(
        "import torch\n"
        "class Twice(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.weight = torch.nn.Parameter(torch.ones(4, 3))\n"
        "    def forward(self, x):\n        return x @ self.weight + x**2 @ self.weight\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in (("one", 0.0), ("two", 1.0)):
        torch.save({"weight": torch.full((4, 3), value)}, tmp_path / f"{name}.pth")
    command = ["connect", str(tmp_path / "one.pth"), str(tmp_path / "two.pth"), *OWN[2:], "--model", "between_tied:Twice", *FEW]
    assert main([*command, "--paths", "linear,aligned", "--out", str(tmp_path / "run")]) == 0
    assert "line after matching: " in capsys.readouterr().out
    results = decode(tmp_path / "run" / CONNECTION_FILE)
    assert list(results["paths"]) == ["linear"]
    assert list(results["failures"]) == ["aligned"]
    assert main([*command, "--paths", "aligned", "--out", str(tmp_path / "none"), "--quiet"]) == 1  # no curve at all


@pytest.mark.parametrize(
    ("ends", "more", "says"),
    [
        (("a.pth", "a.pth"), [], "hold the same θ"),
        (("a.pth", "absent.pth"), [], "does not exist"),
        (("a.pth", "b.pth"), ["--paths", "curve"], "unknown path 'curve'"),
        (("a.pth", "b.pth"), ["--paths", "linear,linear"], "each once"),
        (("a.pth", "b.pth"), ["--curve-points", "1"], "--curve-points 1"),
        (("a.pth", "b.pth"), ["--path-epochs", "0"], "--path-epochs 0"),
        (("a.pth", "b.pth"), ["--data", "digits", "--loss", "cross_entropy", "--model", "mlp", "--widths", "4"], "lacks"),
    ],
)
def test_bad_input_is_one_sentence(files: Path, tmp_path: Path, capsys, ends, more, says) -> None:
    assert main(words(files, tmp_path / "run", *more, ends=ends)) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_one_checkpoint_alone_is_refused(files: Path, capsys) -> None:
    assert main(["connect", str(files / "a.pth"), *OWN]) == 2
    assert "two checkpoints" in capsys.readouterr().err


def test_a_parameter_outside_theta_that_differs_is_told_by_its_name(files: Path, tmp_path: Path, capsys) -> None:
    assert main(words(files, tmp_path / "run", "--parameters", "2.*")) == 2
    told = capsys.readouterr().err
    assert "`a` and `b` differ in '0.weight'" in told  # which have no flags
    assert "--parameters alone" in told
    assert not (tmp_path / "run").exists()


def test_statistics_groups_and_data_without_a_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "between_others.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import between_others  # type: ignore[import-not-found]

    inputs, targets = between_others.batches()[0]
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(between_others.net().state_dict(), tmp_path / f"{seed}.pth")
    command = ["connect", str(tmp_path / "0.pth"), str(tmp_path / "1.pth"), "--paths", "linear", *FEW, "--quiet"]
    own = ["--model", "between_others:net", "--data", "between_others:batches", "--groups", "between_others:side"]
    assert main([*command, *own, "--out", str(tmp_path / "run")]) == 0
    path, run = decode(tmp_path / "run" / CONNECTION_FILE)["paths"]["linear"], Run.open(tmp_path / "run")
    assert run.classes == ("left", "right")
    assert "test_loss" not in path
    model = between_others.net()
    model.load_state_dict(torch.load(tmp_path / "0.pth"))
    with torch.no_grad():
        outputs = model.train()(inputs)  # in one batch: its statistics are those of all data
    assert path["train_loss"][0] == pytest.approx(
        nn.functional.cross_entropy(outputs, targets).item(), rel=1e-3
    )  # var by n or n − 1
    right, side = outputs.argmax(1) == targets, inputs[:, 3] < 0
    by_hand = [100 * right[mask].double().mean().item() for mask in (side, ~side)]
    assert path["train_class_accuracy"][0] == pytest.approx(by_hand, abs=100 * 2.5 / len(targets))  # two samples near a boundary


def test_other_minima_do_not_go_on_with_a_run(files: Path, made: Path, capsys) -> None:
    before = bytes_of(made)
    assert main(words(files, made, ends=("b.pth", "a.pth"))) == 2
    assert "give these values again, or another directory" in capsys.readouterr().err
    assert bytes_of(made) == before


def test_every_curve_of_the_library_has_words(made: Path) -> None:
    assert list(WORDS) == list(WAYS)
    assert set(decode(made / CONNECTION_FILE)["paths"]) == set(WAYS)
