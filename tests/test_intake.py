"""Batches and modules as people bring them: taken for what they are, or named with the way out."""

import copy
from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import orograph as og
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError, DataError
from orograph.intake import pairs

torch.manual_seed(0)
X, Y = torch.randn(12, 4), torch.randint(3, (12,))


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def dense(operator: LinearOperator) -> Tensor:
    return torch.stack([operator @ row for row in torch.eye(operator.size)], 1)


class Once(IterableDataset):
    def __init__(self) -> None:
        self.rows = iter(list(zip(X, Y, strict=True)))

    def __iter__(self) -> Any:
        return self.rows


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DataLoader(TensorDataset(X, Y), batch_size=None), "one sample; pass torch.utils.data.DataLoader"),
        (lambda: list(zip(X, Y, strict=True)), "one sample"),
        (lambda: DataLoader(Once(), batch_size=5), "12 samples the first time and none the second"),
        (lambda: ((x, y) for x, y in [(X, Y)]), "iterated only once"),
        (list, "no samples"),
        (lambda: [(X[:0], Y[:0])], "no samples"),
        (lambda: [{"x": X, "labels": Y}], "a mapping.*labels"),
        (lambda: {"x": X}, "dict, not batches"),
        (lambda: [(X, X, Y)], "tuple of 3.*several inputs are one tuple"),
        (lambda: [(X, Y.tolist())], "not a tensor"),
        (lambda: [(X, np.array(["a"] * 12))], "ndarray, not a tensor"),
        (lambda: [(torch.distributions.Normal(X, 1.0), Y)], "Normal, whose tensors cannot be cut"),
        (lambda: [(X.to_sparse(), Y)], "batch 0 has tensors of layout sparse_coo.*pass them dense"),
        (lambda: [(X, Y), ((X, X.to_sparse()), Y)], "batch 1 has tensors of layout sparse_coo"),
        (lambda: [(X, F.one_hot(Y).to_sparse())], "layout sparse_coo"),
    ],
)
def test_what_are_no_batches_is_named_with_the_way_out(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        og.HessianOperator(net(), F.cross_entropy, make())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TensorDataset(X, Y), "TensorDataset of single samples; pass torch.utils.data.DataLoader"),
        (3, "int, not batches"),
        ("data", "str, not batches"),
        (None, "NoneType, not batches"),
    ],
)
def test_what_cannot_be_iterated_is_named_with_the_way_out(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):  # signatures say Iterable, which the tests check and users do not
        next(pairs(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        (X.numpy(), Y.numpy()),
        [(X[:8].numpy(), Y[:8].numpy()), (X[8:].numpy(), Y[8:].numpy())],
        [(X.flip(0).numpy()[::-1], Y.numpy())],
        [(X.double().numpy(), Y.numpy())],
        DataLoader(TensorDataset(X, Y), batch_size=5),
    ],
)
def test_arrays_are_tensors(data: Any) -> None:
    assert torch.allclose(dense(og.HessianOperator(net(), F.cross_entropy, data)), dense(RIGHT), atol=1e-6)


RIGHT = og.HessianOperator(net(), F.cross_entropy, [(X, Y)])
Pair = namedtuple("Pair", "x scale")


class Takes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Any, scale: Any = None, flag: bool = False, mode: str = "plain") -> Tensor:
        while not isinstance(x, Tensor):
            x = x["x"] if isinstance(x, dict) else x[0]
        assert mode in ("plain", "other")
        out = self.net(x)
        return out if scale is None else out * scale


ONES = torch.ones(12, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "inputs",
    [
        {"x": X, "scale": ONES},
        {"x": X, "scale": torch.tensor(1.0), "mode": "other"},  # without a dimension: one for all samples
        UserDict({"x": X, "scale": None, "flag": True}),
        (X, None, True, "other"),
        ({"x": [X, None]}, ONES),
        Pair(X, ONES),
    ],
)
def test_inputs_of_any_structure_give_the_hessian_of_the_tensor(inputs: Any) -> None:
    operator = og.HessianOperator(Takes(), F.cross_entropy, [(inputs, Y)])
    assert torch.allclose(dense(operator), dense(RIGHT), atol=1e-5)
    objective = og.Objective(Takes(), F.cross_entropy, [(inputs, Y)], memory="2kB")
    near = pytest.approx(RIGHT.loss, rel=1e-5)
    assert og.sharpness(objective, objective.theta, pairs=2).loss == near
    assert objective.subset(torch.arange(12)).loss(objective.theta) == near


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
        lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
        torch.optim.swa_utils.AveragedModel,
        torch.fx.symbolic_trace,
    ],
)
def test_a_wrapped_module_has_the_hessian_of_the_one_inside(wrap: Callable[[nn.Module], nn.Module]) -> None:
    operator = og.HessianOperator(wrap(net()), F.cross_entropy, [(X, Y)])
    assert torch.allclose(dense(operator), dense(RIGHT), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.jit.script(net()), r"scripted module \(torch.jit\).*Python module"),
        (lambda: nn.Sequential(torch.jit.script(net())), "'0' is a scripted module"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "'0.weight' belongs to a lazy module.*call the model once"),
        (lambda: net().to("meta"), "meta device"),
    ],
)
def test_a_module_that_cannot_be_measured_is_named_with_the_way_out(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        og.Objective(make(), F.cross_entropy, [(X, Y)])


def test_an_exported_module_is_measured_or_refused_in_a_sentence() -> None:
    exported = torch.export.export(net(), (X,)).module()
    try:
        operator = og.HessianOperator(exported, F.cross_entropy, [(X, Y)])
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert torch.allclose(dense(operator), dense(RIGHT), atol=1e-6)


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.auxiliary = net(), nn.Linear(5, 7)
        self.experts = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])

    def forward(self, x: Tensor) -> Tensor:
        expert = self.experts[int(x.sum() > 0)]
        return self.net(x) + expert(x)


def test_parameters_that_the_loss_does_not_use_are_refused_and_have_zero_rows_beside_others() -> None:
    model = Auxiliary()
    with pytest.raises(ConfigurationError, match=r"does not depend on the chosen parameters .'auxiliary.weight' and 1 more"):
        og.HessianOperator(model, F.cross_entropy, [(X, Y)], parameters="auxiliary.*")
    model.net[0].requires_grad_(False)
    with pytest.raises(ConfigurationError, match=r"frozen parameters only .'net.0.weight'"):
        og.Objective(model, F.cross_entropy, [(X, Y)], parameters="net.0.*")
    mean = lambda out, target: F.cross_entropy(out, target)  # noqa: E731 - which keeps the batch whole, as the experts read it
    operator = og.HessianOperator(model, mean, [(X, Y)], parameters="net.2.bias,auxiliary.bias")
    assert dense(operator)[3:].abs().max() == 0
    assert dense(operator)[:3].abs().max() > 0


@pytest.mark.slow
def test_a_branch_that_only_some_batches_take_counts_where_it_is_taken() -> None:
    x = X.abs()
    model, mean = Auxiliary(), lambda out, target: F.cross_entropy(out, target)  # a mean, so that batches stay whole
    operator = og.HessianOperator(model, mean, [(x, Y), (-x, Y)], parameters="experts.*")
    halves = [og.HessianOperator(model, mean, [(s * x, Y)], parameters=f"experts.{i}.*") for i, s in ((1, 1), (0, -1))]
    matrix = dense(operator)
    assert torch.allclose(matrix[15:, 15:], dense(halves[0]) / 2, atol=1e-6)
    assert torch.allclose(matrix[:15, :15], dense(halves[1]) / 2, atol=1e-6)


@pytest.mark.parametrize("loss", [lambda o, t: F.cross_entropy(o.detach(), t), lambda o, t: (o.argmax(1) == t).float()])
def test_a_loss_without_gradient_is_refused(loss: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no gradient"):
        og.Objective(net(), loss, [(X, Y)])


@pytest.mark.parametrize(
    ("model", "loss", "data", "words"),
    [
        (net(), F.cross_entropy, [(X[:, :3], Y)], r"'0' \(Linear\) raises RuntimeError"),
        (net(), F.cross_entropy, [(X, Y + 3)], "the loss raises IndexError"),
        (net(), F.cross_entropy, [(X, Y.int())], "the loss raises"),
        (net(), lambda o, t: o.nothing, [(X, Y)], "the loss raises AttributeError"),
        (Takes(), F.cross_entropy, [({"y": X}, Y)], r"raises TypeError .*'y'"),
        (nn.Sequential(net(), nn.EmbeddingBag(3, 2)), F.cross_entropy, [(X, Y)], r"'1' \(EmbeddingBag\) raises"),
    ],
)
def test_errors_of_torch_name_the_module_or_the_loss(model: nn.Module, loss: Any, data: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        og.Objective(model, loss, data)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_a_label_beyond_the_classes_in_a_later_batch_is_a_sentence_too() -> None:
    with pytest.raises(ConfigurationError, match="raises IndexError"):
        dense(og.HessianOperator(net(), F.cross_entropy, [(X, torch.cat([Y[:-1], torch.tensor([7])]))]))


def test_an_operation_without_second_derivative_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"multi_margin_loss|derivative"):
        dense(og.HessianOperator(net(), nn.MultiMarginLoss(), [(X, Y)]))


class Sentence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.e, self.t, self.o = nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, ids: Tensor, pad: Tensor) -> Tensor:
        return self.o(self.t(self.e(ids), src_key_padding_mask=pad).mean(1))


@pytest.mark.slow
def test_a_padded_encoder_is_evaluated_on_the_path_that_is_differentiated() -> None:
    model, ids = Sentence(), torch.randint(9, (6, 5))
    pad = torch.arange(5)[None] >= torch.tensor([2, 3, 4, 5, 2, 3])[:, None]
    right = F.cross_entropy(copy.deepcopy(model).train()(ids, pad), Y[:6]).item()  # no dropout: the ordinary path
    objective = og.Objective(model, F.cross_entropy, [((ids, pad), Y[:6])])
    near = pytest.approx(right, rel=1e-5)
    assert objective.loss(objective.theta) == near
    assert og.sharpness(objective, objective.theta, pairs=1).loss == near
    assert og.HessianOperator.of(objective).loss == near
    assert torch.backends.mha.get_fastpath_enabled()
