"""Whatever a module does besides computing: the numbers are those of a fresh copy, and nothing of the user's has changed."""

import copy
import functools
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import orograph as og
from orograph.calling import evaluation_mode
from orograph.errors import ConfigurationError
from untouched import facts_of, untouched


class Helper:
    """An object beside a module: plain attributes, one of which holds others."""

    def __init__(self) -> None:
        self.calls, self.inner = 0, {"seen": [1.0]}


class Slotted:
    __slots__ = ("calls", "late")

    def __init__(self) -> None:
        self.calls = 0


class Does(nn.Module):
    """Something with its input, and something besides."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.calls, self.seen, self.by_shape, self.last = what, 0, [], {}, None
        self.plain = torch.zeros(4, dtype=torch.float64)
        self.tally, self.lists, self.window = Counter(a=1), defaultdict(list), deque([1.0], maxlen=2)
        self.shapes, self.nested, self.array = {(9,)}, {"seen": [[1.0]]}, np.ones(4)
        self.cache = {"kept": torch.ones(4, dtype=torch.float64)}
        self.helper, self.slotted = Helper(), Slotted()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        return BESIDES[self.what](self, x)


def subtracts(self: Does, x: Tensor) -> Tensor:
    x -= 0.5
    return x


def averages(self: Does, x: Tensor) -> Tensor:
    self.count += 1
    self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
    return x + self.count


def averages_out_of_sight(self: Does, x: Tensor) -> Tensor:
    self.mean.data.copy_(self.mean.data + 1)
    return x + self.mean


def replaces_a_buffer(self: Does, x: Tensor) -> Tensor:
    self.mean = self.mean + 1
    return x * self.mean


def registers_a_buffer(self: Does, x: Tensor) -> Tensor:
    if "late" not in self._buffers:
        self.register_buffer("late", torch.full((4,), 2.0, dtype=torch.float64))
    return x * self.late


def counts(self: Does, x: Tensor) -> Tensor:
    self.calls, self.last = self.calls + 1, x * self.calls
    return x * (1 + self.calls)


def remembers_in_a_list(self: Does, x: Tensor) -> Tensor:
    self.seen.append(x.shape)
    return x * len(self.seen)


def remembers_in_a_dict(self: Does, x: Tensor) -> Tensor:
    return self.by_shape.setdefault("first", x.detach()) + x


def carries_a_state(self: Does, x: Tensor) -> Tensor:
    self.last = x.tanh() if self.last is None else self.last + x
    return x + self.last


def writes_into_an_attribute(self: Does, x: Tensor) -> Tensor:
    self.plain.add_(1)
    return x * self.plain


def counts_in_a_counter(self: Does, x: Tensor) -> Tensor:
    self.tally.update(a=1, b=2)
    return x * self.tally["a"] / 2 + self.tally["b"]


def remembers_in_lists_by_default(self: Does, x: Tensor) -> Tensor:
    self.lists[len(x)].append(1.0)
    return x * sum(map(len, self.lists.values()))


def remembers_the_last_few(self: Does, x: Tensor) -> Tensor:
    self.window.append(2.0)
    return x * sum(self.window) / 3


def remembers_in_a_set(self: Does, x: Tensor) -> Tensor:
    self.shapes.add(tuple(x.shape))
    return x * len(self.shapes)


def remembers_in_a_list_of_a_list_of_a_dict(self: Does, x: Tensor) -> Tensor:
    self.nested["seen"][0].append(2.0)
    return x * sum(self.nested["seen"][0]) / 3


def counts_in_an_array(self: Does, x: Tensor) -> Tensor:
    self.array += 1
    return x * float(self.array.mean()) / 2


def writes_into_a_cache(self: Does, x: Tensor) -> Tensor:
    self.cache["kept"].add_(1)
    return x * self.cache["kept"]


def counts_with_a_helper(self: Does, x: Tensor) -> Tensor:
    self.helper.calls += 1
    self.helper.inner["seen"].append(self.helper.calls)
    return x * sum(self.helper.inner["seen"])


def counts_in_a_slot(self: Does, x: Tensor) -> Tensor:
    self.slotted.calls += 1
    self.slotted.late = getattr(self.slotted, "late", 0) + self.slotted.calls
    return x * self.slotted.late


BESIDES: dict[str, Callable[[Does, Tensor], Tensor]] = {
    "subtracts in place": subtracts,
    "clamps in place": lambda self, x: x.clamp_(-1, 1),
    "rectifies in place": lambda self, x: F.relu_(x),
    "averages": averages,
    "averages through .data": averages_out_of_sight,
    "replaces a buffer": replaces_a_buffer,
    "registers a buffer": registers_a_buffer,
    "counts": counts,
    "remembers in a list": remembers_in_a_list,
    "remembers in a dict": remembers_in_a_dict,
    "carries a state": carries_a_state,
    "writes into an attribute": writes_into_an_attribute,
    "counts in a counter": counts_in_a_counter,
    "remembers in lists by default": remembers_in_lists_by_default,
    "remembers the last few": remembers_the_last_few,
    "remembers in a set": remembers_in_a_set,
    "remembers in a list of a list of a dict": remembers_in_a_list_of_a_list_of_a_dict,
    "counts in an array": counts_in_an_array,
    "writes into a cache": writes_into_a_cache,
    "counts with a helper": counts_with_a_helper,
    "counts in a slot": counts_in_a_slot,
    "branches": lambda self, x: x if x.sum() > -1e9 else -x,
    "computes a checkpoint": lambda self, x: checkpoint(torch.tanh, x, use_reentrant=False),
}


def make(*whats: str, seed: int = 0) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(*[Does(what) for what in whats], nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double().train()
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model, [(torch.randn(5, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1]))]


def fresh_hessian(model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> tuple[float, Tensor]:
    """Loss and Hessian by differences of gradients, each of a copy of its own."""
    named = list(model.named_parameters())
    theta = torch.cat([p.detach().flatten() for _, p in named])
    ((inputs, targets),) = data

    def value(theta: Tensor) -> tuple[Tensor, list[Tensor]]:
        twin = copy.deepcopy(model).eval()
        torch.nn.utils.vector_to_parameters(theta, twin.parameters())
        return F.cross_entropy(twin(inputs.clone()), targets), list(twin.parameters())

    def gradient(theta: Tensor) -> Tensor:
        loss, parameters = value(theta)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    h = 1e-5
    columns = [(gradient(theta + h * e) - gradient(theta - h * e)) / (2 * h) for e in torch.eye(len(theta), dtype=torch.float64)]
    return value(theta)[0].item(), torch.stack(columns, 1)


def compare(model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> None:
    loss, hessian = fresh_hessian(model, data)
    with untouched(model, data):
        operator = og.HessianOperator(model, F.cross_entropy, data)
        found = operator @ torch.eye(operator.size, dtype=torch.float64)
        again = operator @ torch.eye(operator.size, dtype=torch.float64)
        gradient = operator.gradient
        value = og.Objective(model, F.cross_entropy, data).loss(operator.theta)
    assert operator.loss == pytest.approx(loss, rel=1e-12)
    assert value == pytest.approx(loss, rel=1e-12)
    assert gradient.isfinite().all()
    assert torch.equal(found, again)
    assert (found - hessian).norm() <= 1e-7 * hessian.norm()  # of the differences: h² and ε/h are both near 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("what", BESIDES)
def test_what_a_module_does_besides_is_done_to_a_copy(what: str) -> None:
    compare(*make(what))


@pytest.mark.slow
@settings(max_examples=3, phases=[Phase.generate])
@given(st.lists(st.sampled_from(sorted(BESIDES)), min_size=2, max_size=4), st.integers(0, 99))
def test_so_it_is_in_any_combination(whats: list[str], seed: int) -> None:
    compare(*make(*whats, seed=seed))


@pytest.mark.slow
def test_after_an_error_all_is_as_it_was() -> None:
    model, data = make(*BESIDES)

    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.half_done = x
            raise KeyError("lost")

    model.append(Fails())
    with untouched(model, data), pytest.raises(ConfigurationError, match="lost"):
        og.HessianOperator(model, F.cross_entropy, data)


@pytest.mark.slow
def test_what_hooks_enclose_is_put_back() -> None:
    model, data = make("counts")
    features, calls = [1.0], 0

    def collects(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        nonlocal calls
        features.append(2.0)
        calls += 1
        return output * sum(features) * calls

    model[0].register_forward_hook(collects)
    with untouched(model, data):
        operator = og.HessianOperator(model, F.cross_entropy, data)
    assert (features, calls) == ([1.0], 0)
    features, calls = [1.0], 0
    assert operator.loss == pytest.approx(F.cross_entropy(model.eval()(data[0][0].clone()), data[0][1]).item(), rel=1e-12)


class Collects:
    def __init__(self) -> None:
        self.values, self.calls = deque([1.0], maxlen=3), Counter()

    def __call__(self, out: Tensor, target: Tensor) -> Tensor:
        self.values.append(2.0)
        self.calls["all"] += 1
        return F.cross_entropy(out, target) * sum(self.values) / self.calls["all"]


def enclosing() -> Callable[[Tensor, Tensor], Tensor]:
    log, arrays, calls = [0.0], {"sizes": np.zeros(2)}, 0

    def loss(out: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        log.append(float(calls))
        arrays["sizes"] += 1
        return F.cross_entropy(out, target) * (sum(log) + float(arrays["sizes"].sum()))

    return loss


def logged(out: Tensor, target: Tensor, log: dict[str, list[int]], reduction: str = "mean") -> Tensor:
    log["lengths"].append(len(out))
    return F.cross_entropy(out, target, reduction=reduction) * len(log["lengths"])


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = [torch.ones(())]

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        self.seen.append(out.detach().mean())
        return F.cross_entropy(out, target) * len(self.seen)


LOSSES: dict[str, Callable[[], Any]] = {
    "an object": Collects,
    "its method": lambda: Collects().__call__,
    "a closure": enclosing,
    "a partial": lambda: functools.partial(logged, log={"lengths": []}),
    "a module": Remembers,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_loss_holds_is_put_back_and_each_call_is_the_first(kind: str, fails: bool) -> None:
    model, data = make("branches")
    loss = LOSSES[kind]()
    inner = loss if isinstance(loss, functools.partial | nn.Module | FunctionType) else getattr(loss, "__self__", loss)
    before = facts_of(vars(loss) if isinstance(loss, nn.Module) else inner)
    if fails:
        given = [(data[0][0], data[0][1] + 2)]  # classes that there are not
        with pytest.raises(ConfigurationError, match="the loss raises"):
            og.Objective(model, loss, given)
    else:
        objective = og.Objective(model, loss, data)
        found = [objective.loss(objective.theta) for _ in range(2)]
        objective.gradient(objective.theta)
    assert facts_of(vars(loss) if isinstance(loss, nn.Module) else inner) == before
    if not fails:
        with torch.no_grad():
            truth = float(loss(copy.deepcopy(model).eval()(data[0][0].clone()), data[0][1]))
        assert found == pytest.approx([truth] * 2, rel=1e-12)


class Draws(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.held = {"torch": torch.Generator, "numpy": np.random.default_rng, "python": random.Random}[kind]()

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.held, torch.Generator):
            return x + torch.rand(1, generator=self.held).to(x)
        return x + self.held.random()


@pytest.mark.parametrize("kind", ["torch", "numpy", "python"])
def test_a_module_that_draws_from_its_own_generator_is_random_and_the_generator_is_set_back(kind: str) -> None:
    model, data = make("branches")
    model.insert(0, Draws(kind))
    with untouched(model, data), pytest.raises(ConfigurationError, match=r"'0 \(Draws\)' is random"):
        og.HessianOperator(model, F.cross_entropy, data)


class Merging(nn.Linear):
    """An adapter that eval() merges into a frozen weight; `wrong` merges other numbers than it computes with."""

    def __init__(self, wrong: float = 1.0) -> None:
        super().__init__(4, 3)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(3, 2))
        self.weight.requires_grad_(False)
        self.merged, self.wrong = False, wrong

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (-1 if mode else 1) * self.wrong * (self.b @ self.a).data
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (0 if self.merged else x @ self.a.T @ self.b.T)


@pytest.mark.slow
def test_an_adapter_that_eval_merges_is_measured_unmerged_and_stays_so() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Merging(), nn.Tanh()).double()
    data = [(torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 0, 1]))]
    with untouched(model, data):
        operator = og.HessianOperator(model, F.cross_entropy, data)
        dense = operator @ torch.eye(operator.size, dtype=torch.float64)
    layer: Any = model[0]

    def loss(b: Tensor) -> Tensor:
        weight = layer.weight + b.view(3, 2) @ layer.a
        return F.cross_entropy((data[0][0] @ weight.T + layer.bias).tanh(), data[0][1])

    place = operator.theta[-6:]
    torch.testing.assert_close(dense[-6:, -6:], torch.autograd.functional.hessian(loss, place), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("wrong", "merged", "words"), [(1.0, True, "merged '0.a'.*train"), (0.5, False, "Merging.*eval")])
def test_a_merged_adapter_and_one_that_merges_wrongly_are_refused_by_name(wrong: float, merged: bool, words: str) -> None:
    model = nn.Sequential(Merging(wrong), nn.Tanh()).train(not merged)
    data = [(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))]
    with untouched(model, data), pytest.raises(ConfigurationError, match=words):
        og.HessianOperator(model, F.cross_entropy, data)


def test_every_mode_is_restored_without_train_or_eval_being_called() -> None:
    model = nn.Sequential(Merging(), nn.Dropout(), nn.BatchNorm1d(3))
    model[1].eval()
    seen = []
    with untouched(model), pytest.raises(ZeroDivisionError), evaluation_mode(model):
        seen.append(1 / sum(module.training for module in model.modules()))
    assert not seen


@pytest.mark.slow
@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (og.HessianOperator, "counts"),
        (og.HessianOperator, "branches"),
        (og.GaussNewtonOperator, "counts"),
        (og.EmpiricalFisherOperator, "branches"),
    ],
)
def test_within_no_grad_and_inference_mode_all_is_as_outside(kind: Any, switched_off: Any, what: str) -> None:
    """One of the two traces; the other, which asks for values, does not."""
    model, data = make(what)
    outside = kind(model, F.cross_entropy, data)
    with switched_off():
        inside = kind(model, F.cross_entropy, [(data[0][0] * 1, data[0][1] * 1)])  # which makes data of that mode
        vector = torch.ones(inside.size, dtype=torch.float64)
        products = inside @ vector, inside.at(inside.theta * 1.1) @ vector, inside @ vector[:, None].expand(-1, 2)
        gradient = og.Objective(model, F.cross_entropy, data).gradient(inside.theta)
    assert inside.method == outside.method == ("traced" if what != "branches" else "forward-over-reverse")
    assert torch.equal(products[0], outside @ torch.ones(inside.size, dtype=torch.float64))
    torch.testing.assert_close(products[2][:, 1], products[0])
    assert products[1].isfinite().all()
    torch.testing.assert_close(gradient, outside.gradient)


def noisy_by(draw: Callable[[int], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def noisy(z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z, y, reduction="none") @ draw(len(z)).to(z)

    return noisy


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.drop(z), y)


RANDOM: dict[str, tuple[Any, str]] = {
    "dropout": (Dropped(), "Dropped"),
    "torch": (noisy_by(lambda n: torch.rand(n)), "noisy"),
    "permutations": (noisy_by(lambda n: torch.randperm(n)), "noisy"),
    "numpy": (noisy_by(lambda n: torch.from_numpy(np.random.rand(n))), "noisy"),  # noqa: NPY002 - what people write
    "python": (noisy_by(lambda n: torch.tensor([random.random() for _ in range(n)])), "noisy"),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_loss_is_refused_by_name_and_random_numbers_go_on_as_before(name: str) -> None:
    model, data = make("branches")
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with untouched(model, data), pytest.raises(ConfigurationError, match=f"the loss {RANDOM[name][1]} gives another value each"):
        og.Objective(model, RANDOM[name][0], data)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002


def test_a_loss_whose_dropout_is_off_is_measured() -> None:
    model, data = make("branches")
    found = og.Objective(model, Dropped().eval(), data)
    assert found.loss(found.theta) == pytest.approx(fresh_hessian(model, data)[0], rel=1e-12)


WRITES: dict[str, tuple[Any, str]] = {
    "targets": (lambda z, y: (z - y.clamp_(min=0)).square().mean(), "targets"),
    "targets by index": (lambda z, y: (z - y.index_fill_(0, torch.tensor([0]), 0.0)).square().mean(), "targets"),
    "outputs": (lambda z, y: (z.sub_(y)).square().mean(), "outputs"),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("kind", [og.Objective, og.HessianOperator, og.GaussNewtonOperator])
def test_a_loss_that_writes_in_place_is_refused_and_has_not_written(name: str, kind: Any) -> None:
    model, data = make("branches")
    loss, what = WRITES[name]
    brought = [(data[0][0], torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2))]
    with untouched(model, brought), pytest.raises(ConfigurationError, match=f"writes into its {what} in place"):
        kind(model, loss, brought)


def imputes(x: Tensor) -> Tensor:
    if x.isnan().any():
        x[x.isnan()] = 0.0
    return x


def clamps(x: Tensor) -> Tensor:
    return x.clamp_(-4, 4) if x.abs().max() > 4 else x


class First(nn.Module):
    """Does something to its input, with some batches alone, and then keeps the largest that it saw."""

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does, self.inner = does, nn.Linear(4, 2).double()
        self.register_buffer("most", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = self.does(x)
        if x.abs().max() > 3:
            self.most.fill_(2.0)
        return self.inner(x.sum(1) if x.ndim > 2 else x) / self.most


@pytest.mark.parametrize("lengths", [(3, 3), (3, 5)], ids=["joined", "of unlike lengths"])
@pytest.mark.parametrize("does", [imputes, clamps])
def test_what_forward_writes_with_a_later_batch_alone_leaves_inputs_and_buffers(does: Any, lengths: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = First(does)
    data = [(torch.rand(6, length, 4, dtype=torch.float64), torch.arange(6) % 2) for length in lengths]
    data[1][0][0, 0, 0] = torch.nan if does is imputes else 9.0
    with untouched(model, data):
        objective = og.Objective(model, F.cross_entropy, data)
        values = [objective.loss(objective.theta) for _ in range(2)]
        operator = og.HessianOperator.of(objective)
        operator @ operator.gradient
        og.profile(objective, objective.theta, torch.ones_like(objective.theta), points=3)
    truth = [F.cross_entropy(copy.deepcopy(model)(x.clone()), y).item() for x, y in data]
    assert values == pytest.approx([sum(truth) / 2] * 2, rel=1e-12)


def _hooked(kind: str, seen: list[str]) -> tuple[nn.Module, Callable[[], None]]:
    """A network with a hook that changes gradients, or only sees them, and what takes away one that belongs to all modules."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()

    def hook(*given: Any) -> Any:
        seen.append(kind)
        if kind == "of all modules" and not isinstance(given[0], nn.Tanh):
            return None
        gradients = given[-1]
        return tuple(3 * each for each in gradients) if isinstance(gradients, tuple) else 3 * gradients

    handles: list[Any] = []
    if kind == "full backward":
        handles.append(model[1].register_full_backward_hook(hook))
    elif kind == "full backward pre":
        handles.append(model[1].register_full_backward_pre_hook(hook))
    elif kind == "of all modules":
        handles.append(nn.modules.module.register_module_full_backward_hook(hook))
    elif kind == "of a parameter":
        handles.append(model[0].weight.register_hook(hook))
    elif kind == "after accumulation":
        handles.append(model[0].weight.register_post_accumulate_grad_hook(lambda parameter: seen.append(kind)))
    return model, lambda: [handle.remove() for handle in handles] and None


HOOKS = ("full backward", "full backward pre", "of all modules", "of a parameter", "after accumulation")


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOOKS)
def test_backward_hooks_do_not_take_part_and_are_there_afterwards(kind: str) -> None:
    inputs, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(6) % 3
    seen: list[str] = []
    plain, _ = _hooked("", [])
    model, remove = _hooked(kind, seen)
    try:
        found = []
        for each in (plain, model):
            operator = og.HessianOperator(each, nn.CrossEntropyLoss(), [(inputs, targets)])
            objective = og.Objective(each, nn.CrossEntropyLoss(), [(inputs, targets)])
            found.append((operator.gradient, operator @ torch.ones(operator.size), objective.gradient(objective.theta)))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        assert not seen
        with pytest.raises(ConfigurationError):
            og.HessianOperator(model, nn.CrossEntropyLoss(), [(inputs[:, :2], targets)])
        nn.functional.cross_entropy(model(inputs), targets).backward()
        assert seen
    finally:
        remove()


@pytest.mark.slow
def test_forward_hooks_are_part_of_the_function() -> None:
    inputs, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(6) % 3
    model, _ = _hooked("", [])
    model[0].register_forward_hook(lambda module, given, output: 2 * output)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(inputs), targets).item()
    assert og.HessianOperator(model, nn.CrossEntropyLoss(), [(inputs, targets)]).loss == pytest.approx(expected, rel=1e-14)
