"""Problems: networks made as they ask for it, data in every form, groups of samples, and sentences for what is none."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.problem import Problem
from orograph.settings.problem import ProblemSettings
from orograph.sources import called, digest, imported, modules_behind
from orograph.work.problems import require_unchanged

X, Y = torch.arange(24.0).view(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def problem(**given: object) -> Problem:
    parts: dict[str, object] = {"model": lambda: nn.Linear(3, 3), "loss": nn.CrossEntropyLoss(), "train": (X, Y)}
    return Problem(**(parts | given))  # type: ignore[arg-type]


def test_a_factory_gets_what_it_asks_for() -> None:
    met: dict[str, object] = {}

    def factory(classes: int, input_shape: tuple[int, ...], init_seed: int) -> nn.Module:
        met.update(classes=classes, input_shape=input_shape, init_seed=init_seed)
        return nn.Linear(3, 3)

    problem(model=factory).build(7)
    assert met == {"classes": 3, "input_shape": (3,), "init_seed": 7}
    met.clear()
    problem(model=factory, train=(X, X[:, :2])).build(7)
    assert met["classes"] == 2  # numbers of a target


def test_a_factory_without_a_seed_follows_it_all_the_same_and_leaves_the_stream_as_it_was() -> None:
    before = torch.get_rng_state()
    one, same, other = (problem().build(seed).weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_is_copied() -> None:
    given = nn.Linear(3, 3)
    made = problem(model=given).build(3)
    assert made is not given
    assert torch.equal(made.weight, given.weight)


def test_samples_with_one_or_three_channels_are_images_from_0_to_1() -> None:
    pictures = torch.arange(96.0).view(8, 3, 2, 2) - 7
    of_one_s_own = problem(model=lambda: nn.Flatten(), train=[(pictures[:5], Y[:5]), (pictures[5:], Y[5:])])
    assert of_one_s_own.shows
    shown = of_one_s_own.pixels(torch.tensor([7, 0]))
    assert torch.equal(shown, (pictures[[7, 0]] + 7) / 95)
    assert not problem().shows
    assert not problem(train=(X.view(8, 1, 1, 3), Y)).shows  # a line


def test_a_loss_that_reads_the_module_itself_is_refused_where_a_copy_is_meant() -> None:
    module = nn.Linear(3, 3)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets) + module.weight.square().sum()

    with pytest.raises(ConfigurationError, match="the loss reads the parameters 'weight' by itself"):
        problem(model=module, loss=loss).build(0)
    assert problem(model=module, loss=loss, parameters="bias").build(0)  # what is none of θ is the same in the copy


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X.numpy(), Y.numpy()),
        [(X[:5], Y[:5]), (X[5:], Y[5:])],
        DataLoader(TensorDataset(X, Y), batch_size=3),
        TensorDataset(X, Y),
    ],
    ids=["tensors", "arrays", "batches", "loader", "data set"],
)
def test_data_come_in_every_form(data: object) -> None:
    found = problem(train=data, test=data)
    groups = found.grouped()
    assert groups is not None
    assert groups.test is not None
    assert groups.names == ("0", "1", "2")
    assert torch.equal(groups.train, Y)
    assert torch.equal(groups.test, Y)
    assert found.checksum == problem(train=data, test=data).checksum != problem(train=data).checksum


def test_groups_are_any_labels() -> None:
    by_function = problem(groups=lambda inputs, targets: ["large" if row[0] > 9 else "small" for row in inputs]).grouped()
    assert by_function is not None
    assert by_function.names == ("large", "small")
    assert by_function.train.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert by_function.test is None
    by_labels = problem(groups=(np.array([3, 5] * 4), None)).grouped()
    assert by_labels is not None
    assert by_labels.names == ("3", "5")
    assert by_labels.train.tolist() == [0, 1] * 4
    assert problem(train=(X, X), groups=None).grouped() is None


def test_groups_that_are_numbers_are_in_the_order_of_numbers() -> None:
    labels = ["10", "9", "-1", "long", "100", "2.5", "9", "nan"]
    found = problem(groups=(labels, None)).grouped()
    assert found is not None
    assert found.names == ("-1", "2.5", "9", "10", "100", "long", "nan")
    assert [found.names[number] for number in found.train] == labels


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (lambda inputs, targets: [0], "1 labels for a batch of 8"),
        (([0, 1], None), "2 labels for 8 train samples"),
        (lambda inputs, targets: [None] * len(targets), "NoneType"),
        (lambda inputs, targets: inputs.missing, "AttributeError"),
    ],
)
def test_groups_that_are_not_one_label_a_sample_are_refused(groups: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        problem(groups=groups).grouped()


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (lambda: 3, "gave int, not a torch.nn.Module"),
        (lambda depth: nn.Linear(3, 3), "without arguments but init_seed, input_shape, classes"),
        (lambda: nn.Linear(-1, 3), "failed with"),
    ],
)
def test_a_factory_that_makes_no_network_is_refused(factory: Callable[..., nn.Module], says: str) -> None:
    with pytest.raises(OrographError, match=says):
        problem(model=factory).build(0)


def test_a_stream_is_refused() -> None:
    class Stream(torch.utils.data.IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            return iter([])

    with pytest.raises(DataError, match="read once only"):
        problem(train=Stream())


def test_a_file_is_imported_once_and_known_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "a_file_of_ones_own.py"
    file.write_text("import torch\ndef net():\n    return torch.nn.Linear(2, 2)\n")
    one, other = imported("model", f"{file}:net"), imported("model", f"{file}:net")
    assert one is other
    assert isinstance(called("model", "net", one), nn.Linear)
    before = digest(one)
    file.write_text(file.read_text() + "# another\n")
    assert len(before) == 64
    assert digest(one) != before


def test_the_modules_that_a_source_imports_from_its_own_folder_are_known_transitively(tmp_path: Path) -> None:
    (tmp_path / "blocks_beside").mkdir()
    sources = {
        "a_file_with_blocks.py": "import math, torch\nfrom blocks_beside.inner import net\ndef lazy():\n    import blocks_lazy\n",
        "blocks_beside/__init__.py": "",
        "blocks_beside/inner.py": "from .activations import net\n",
        "blocks_beside/activations.py": "import torch\nfrom . import inner\ndef net():\n    return torch.nn.Tanh()\n",
        "blocks_lazy.py": "",
        "blocks_of_nobody.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    made = imported("model", f"{tmp_path / 'a_file_with_blocks.py'}:lazy")
    before = modules_behind(made)
    assert sorted(before) == ["blocks_beside", "blocks_beside.activations", "blocks_beside.inner", "blocks_lazy"]
    assert modules_behind(imported("model", f"{tmp_path / 'a_file_with_blocks.py'}:net")) == {
        name: before[name] for name in ("blocks_beside", "blocks_beside.activations", "blocks_beside.inner")
    }
    deep = tmp_path / "blocks_beside" / "activations.py"
    deep.write_text(deep.read_text().replace("Tanh", "Sigmoid"))
    after = modules_behind(made)
    assert [name for name in before if before[name] != after[name]] == ["blocks_beside.activations"]
    assert modules_behind(nn.Linear) == {}


def test_a_changed_module_is_refused_by_name_and_a_run_that_knows_none_goes_on() -> None:
    now = ProblemSettings(sources={"model": "a", "module blocks": "c"})
    with pytest.raises(ConfigurationError, match="the source of `module blocks` has changed"):
        require_unchanged(ProblemSettings(sources={"model": "a", "module blocks": "b"}), now)
    require_unchanged(ProblemSettings(sources={"model": "a"}), now)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module_here:net", "no module named 'no_such_module_here'"),
        ("math:net", "has no function 'net'"),
        ("no_such.py:net", "there is no file no_such.py"),
    ],
)
def test_what_does_not_exist_is_named(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        imported("model", name)


def test_a_file_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a_file_that_fails.py"
    file.write_text("raise RuntimeError('why')\n")
    with pytest.raises(DataError, match="failed with RuntimeError: why"):
        imported("model", f"{file}:net")
