"""Kept traces against dense matrices of plain autograd in float64, and against traces that were made anew.

The dense matrix is a loop of double backward over the module itself, which knows no trace and no store.
"""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.curvature import known
from orograph.curvature.tracing.traced import Trace

DATA = [(torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3)]
VECTOR_SEED = 2


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one at each trace that is made; the store is empty before and after."""
    calls: list[int] = []
    begin = Trace.__init__

    def counted(self: Trace, *args: object, **options: object) -> None:
        calls.append(1)
        begin(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trace, "__init__", counted)
    known.clear()
    yield calls
    known.clear()


def net(seed: int = 0, width: int = 7) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)).double()


def data() -> list[tuple[Tensor, Tensor]]:
    return [(x.double(), y) for x, y in DATA]


def right(model: nn.Module, loss: Callable[..., Tensor] = F.cross_entropy, **options: object) -> og.HessianOperator:
    """An operator of the model, whose product is that of plain autograd on the module itself."""
    operator = og.HessianOperator(model, loss, data(), **options)  # type: ignore[arg-type]
    chosen = [p for p in model.parameters() if p.requires_grad]
    if options.get("parameters") == "0.*":
        chosen = chosen[:2]
    v = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(VECTOR_SEED))
    (x, y), model = data()[0], model.eval()
    slopes = torch.autograd.grad(loss(model(x), y), chosen, create_graph=True)
    flat = torch.cat([slope.reshape(-1) for slope in slopes])
    truth = torch.cat([part.reshape(-1) for part in torch.autograd.grad(flat @ v, chosen)])
    # Two sums of some hundred numbers in float64, in different orders.
    torch.testing.assert_close(operator @ v, truth, rtol=1e-10, atol=1e-12)
    return operator


def test_a_second_network_of_the_same_shape_is_not_traced(made: list[int]) -> None:
    first = right(net(0))
    assert first.method == "traced"
    assert len(made) == 1
    second = right(net(1))
    assert second.traces == 1
    assert len(made) == 1


@pytest.mark.slow
def test_a_kept_trace_multiplies_bit_for_bit_as_a_new_one(made: list[int]) -> None:
    right(net(0))
    kept = og.HessianOperator(net(1), F.cross_entropy, data())
    block = torch.randn(kept.size, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found, wide = kept @ block[:, 0].contiguous(), kept @ block
    known.clear()
    fresh = og.HessianOperator(net(1), F.cross_entropy, data())
    assert len(made) == 2
    assert torch.equal(found, fresh @ block[:, 0].contiguous())
    assert torch.equal(wide, fresh @ block)


class Closing(nn.Module):
    """Multiplies with a tensor that is no buffer."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.held = nn.Linear(5, 30).double(), [mask]
        self.last = nn.Linear(30, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.layer(x)) * self.held[0])


@pytest.mark.slow
def test_tensors_that_a_network_closes_over_do_not_alias(made: list[int]) -> None:
    mask = torch.rand(12, 30, dtype=torch.float64)
    model = Closing(mask)
    right(model)
    mask.mul_(-2)  # the same tensor, other values
    right(model)
    right(Closing(torch.rand(12, 30, dtype=torch.float64)))
    assert len(made) == 3


@pytest.mark.slow
def test_weights_of_a_loss_do_not_alias(made: list[int]) -> None:
    for seed in (0, 1):
        weights = torch.rand(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5

        def loss(z: Tensor, y: Tensor, weights: Tensor = weights) -> Tensor:
            return (F.cross_entropy(z, y, reduction="none") * weights[y]).mean()

        right(net(), loss)


def cubed(factor: float) -> type[torch.autograd.Function]:
    """Two classes of one name, with one forward and different derivatives."""

    class Cubed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def setup_context(ctx: object, inputs: tuple[Tensor, ...], output: Tensor) -> None: ...

        @staticmethod
        def backward(ctx: object, *slopes: Tensor) -> Tensor:
            return slopes[0] * factor if factor != 1 else slopes[0]

        @staticmethod
        def jvp(ctx: object, *moved: Tensor) -> Tensor:
            return moved[0] * factor

    return Cubed


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_function_with_its_own_derivative_is_not_kept(made: list[int], factor: float) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> Tensor:
            return cubed(factor).apply(self.inner(x))

    objective = og.Objective(Own(), F.cross_entropy, data())
    batch = next(objective.batches())
    assert known._ledger(objective, known.HESSIAN, batch) is None
    plain = og.Objective(net(), F.cross_entropy, data())
    assert known._ledger(plain, known.HESSIAN, batch) is not None


def test_an_operator_of_another_library_is_not_kept(made: list[int]) -> None:
    with torch.library._scoped_library("orograph_known_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
        library.impl("twice", lambda x: torch.empty_like(x), "Meta")

        class Custom(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = net()

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(torch.ops.orograph_known_test.twice(x))

        objective = og.Objective(Custom(), F.cross_entropy, data())
        assert known._ledger(objective, known.HESSIAN, next(objective.batches())) is None


class Detaching(nn.Module):
    """Equal values, other derivatives."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner, self.way = net(), way

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        if self.way == "no_grad":
            with torch.no_grad():
                scale = z.square() * 1
        else:
            scale = z.square() * 1
        return z * (scale.detach() if self.way == "detach" else scale)


def test_what_is_held_fast_in_one_network_moves_in_another(made: list[int]) -> None:
    ledgers = []
    for way in ("none", "no_grad", "detach"):
        objective = og.Objective(Detaching(way), F.cross_entropy, data())
        found = known._ledger(objective, known.HESSIAN, next(objective.batches()))
        assert found is not None
        ledgers.append(found[0])
    assert len(set(ledgers)) == 3


@pytest.mark.slow
def test_numbers_of_a_module_are_told_apart(made: list[int]) -> None:
    for slope in (0.1, 0.2):
        torch.manual_seed(0)
        right(nn.Sequential(nn.Linear(5, 7), nn.Softplus(beta=1 + slope), nn.LayerNorm(7, eps=slope), nn.Linear(7, 3)).double())
    assert len(made) == 2


@pytest.mark.slow
def test_selections_of_parameters_ties_and_shapes_are_told_apart(made: list[int]) -> None:
    right(net())
    right(net(), parameters="0.*")
    frozen = net()
    for parameter in list(frozen.parameters())[2:]:
        parameter.requires_grad_(False)
    right(frozen)
    right(net(width=8))
    square = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 3)).double()
    right(square)
    square[2].weight = square[0].weight
    right(square)
    assert len(made) == 5  # frozen by a flag or by a selection, it is one computation


@pytest.mark.slow
def test_dropout_and_statistics_of_batches_are_those_of_evaluation(made: list[int]) -> None:
    for p, momentum in ((0.1, 0.1), (0.7, 0.3)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, momentum=momentum), nn.Tanh(), nn.Dropout(p), nn.Linear(6, 3))
        model.double().train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        right(model)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.slow
def test_formulas_and_cohorts_are_told_apart(made: list[int]) -> None:
    objective = og.Objective(net(), F.cross_entropy, data())
    batch = next(objective.batches())
    for formula in (known.HESSIAN, known.GAUSS_NEWTON, known.FISHER):
        for models in (None, 2, 3):
            assert known.trace_of(objective, formula, batch, models=models).models == models
    assert len(made) == 9
    for formula in (known.HESSIAN, known.GAUSS_NEWTON, known.FISHER):
        known.trace_of(objective, formula, batch, models=2)
    assert len(made) == 9


def test_a_choice_by_values_is_not_kept(made: list[int]) -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) if x.abs().sum() > 1 else self.inner(-x)

    objective = og.Objective(Choosing(), F.cross_entropy, data())
    assert known._ledger(objective, known.HESSIAN, next(objective.batches())) is None


@pytest.mark.slow
def test_a_graph_that_does_not_give_the_product_is_traced_anew(made: list[int]) -> None:
    right(net())
    (key,) = known._KEPT
    objective = og.Objective(net(), lambda z, y: 2 * F.cross_entropy(z, y, reduction="none"), data())
    wrong = Trace(objective, known.HESSIAN, next(objective.batches()))
    known._KEPT[key] = wrong.of(None)
    right(net(1))
    assert len(made) == 3
    right(net(2))
    assert len(made) == 3


def test_what_fails_while_it_is_traced_leaves_nothing(made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Trace, *args: object, **options: object) -> None:
        raise RuntimeError("cannot")

    monkeypatch.setattr(Trace, "__init__", fails)
    assert right(net()).method != "traced"
    assert not known._KEPT


@pytest.mark.slow
def test_no_network_loss_or_data_is_kept_alive(made: list[int]) -> None:
    model, pair = net(), data()
    operator = og.HessianOperator(model, loss := nn.CrossEntropyLoss(), pair)
    operator @ torch.ones(operator.size, dtype=torch.float64)
    watched = [weakref.ref(each) for each in (model, loss, pair[0][0], operator)]
    assert known._KEPT
    del model, loss, pair, operator
    gc.collect()
    assert [each() for each in watched] == [None] * 4


@pytest.mark.slow
def test_the_store_is_bounded(made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    for width in (4, 5, 6):
        right(net(width=width))
    assert len(known._KEPT) == 2
    right(net(width=6))
    right(net(width=4))
    assert len(made) == 4


def test_threads_share_it(made: list[int]) -> None:
    right(net())
    objectives = [og.Objective(net(seed), F.cross_entropy, data()) for seed in range(4)]
    found: list[Trace] = []

    def take(objective: og.Objective) -> None:
        found.append(known.trace_of(objective, known.HESSIAN, next(objective.batches()), models=None, tile_bytes=0))

    threads = [threading.Thread(target=take, args=(objective,)) for objective in objectives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {id(trace._objective) for trace in found} == set(map(id, objectives))


class Branching(nn.Module):
    """Of samples that begin with a negative number, or by such a parameter, another network, or the same one always."""

    def __init__(self, by: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.by, self.a, self.b = by, nn.Linear(2, 3).double(), nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        looked_at = {"input": x[0], "parameter": self.a.bias.detach().abs()}.get(self.by)
        first = 1.0 if looked_at is None else looked_at.tolist()[0]
        return self.b(torch.tanh(self.a(x)) * (1.0 if first > 0 else 3.0))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["input", "parameter"])
def test_networks_that_read_numbers_as_lists_get_no_graph_of_one_that_does_not(by: str) -> None:
    known.clear()
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches = [(x, torch.tensor([0, 1, 0, 1])), (-x, torch.tensor([1, 1, 0, 0]))]
    og.HessianOperator(Branching("nothing"), F.cross_entropy, batches)
    model = Branching(by)
    operator = og.HessianOperator(model, F.cross_entropy, batches)
    assert operator.method != "traced"
    v = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(VECTOR_SEED))
    mean = sum(F.cross_entropy(model(inputs), y) for inputs, y in batches) / 2
    slopes = torch.autograd.grad(mean, list(model.parameters()), create_graph=True)
    flat = torch.cat([slope.reshape(-1) for slope in slopes])
    truth = torch.cat([part.reshape(-1) for part in torch.autograd.grad(flat @ v, list(model.parameters()))])
    torch.testing.assert_close(operator @ v, truth, rtol=1e-10, atol=1e-12)  # float64, other orders of summation
