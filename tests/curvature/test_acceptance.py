"""Products pass tests by routes without second derivatives, or are refused: no wrong number, and nothing right refused."""

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import orograph as og
from orograph.curvature.cohort import CohortHessian
from orograph.curvature.formulas import GAUSS_NEWTON, HESSIAN, Formula
from orograph.curvature.matrix import CurvatureOperator
from orograph.errors import ConfigurationError
from untouched import untouched

KINDS = {"difference": og.HessianOperator, "metric": og.GaussNewtonOperator}


class Power(torch.autograd.Function):
    """x³ whose gradient is `first` times the right one, and whose second derivative `second` times that of this gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: float, second: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factors = first, second
        return x**3

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (x,), (first, second) = ctx.saved_tensors, ctx.factors
        square = x**2
        return first * slope * 3 * (second * square + (1 - second) * square.detach()), None, None


class Cubic(nn.Module):
    def __init__(self, first: float = 1.0, second: float = 1.0) -> None:
        super().__init__()
        self.factors = first, second

    def forward(self, x: Tensor) -> Tensor:
        return Power.apply(x, *self.factors)


def data(*shape: int, classes: int = 3, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(*(shape or (6, 4)), generator=generator, dtype=torch.float64)
    return [(inputs, torch.randint(classes, (len(inputs),), generator=generator))]


def net(middle: nn.Module, scale: float = 1.0, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Tanh(), middle), nn.Linear(3, 3)).double()
    for parameter in model.parameters():
        parameter.data *= scale
    return model


def differences(model: nn.Module, loss: Any, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The Hessian by differences of the gradients that training uses, in float64."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    theta = nn.utils.parameters_to_vector(parameters).detach().clone()

    def gradient(place: Tensor) -> Tensor:
        nn.utils.vector_to_parameters(place, parameters)
        value = sum(loss(model(inputs), targets) for inputs, targets in batches) / len(batches)
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])

    h = 1e-5
    columns = [(gradient(theta + h * e) - gradient(theta - h * e)) / (2 * h) for e in torch.eye(len(theta), dtype=torch.float64)]
    nn.utils.vector_to_parameters(theta, parameters)
    return torch.stack(columns, 1)


def dense(operator: Any) -> Tensor:
    return torch.stack([operator @ row for row in torch.eye(operator.size, dtype=operator.dtype)], 1)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.floats(-2, 0.99), st.integers(0, 99))
def test_any_wrong_second_derivative_is_refused_by_the_name_of_its_module(second: float, seed: int) -> None:
    model, batches = net(Cubic(second=second), seed=seed), data(seed=seed)
    with untouched(model, batches), pytest.raises(ConfigurationError, match=r"'1\.1 \(Cubic\)' computes with Power.*difference"):
        og.HessianOperator(model, F.cross_entropy, batches)


@settings(max_examples=4)
@given(st.floats(-2, 0.99), st.sampled_from([*KINDS.values(), og.EmpiricalFisherOperator]))
def test_any_wrong_first_derivative_is_refused_by_every_operator(first: float, kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'1\.1 \(Cubic\)' computes with Power.*slope"):
        kind(net(Cubic(first=first)), F.cross_entropy, data())


@pytest.mark.slow
@pytest.mark.parametrize("test", KINDS)
def test_a_right_function_is_measured_and_says_which_tests_it_passed(test: str) -> None:
    model, batches = net(Cubic()), data()
    operator = KINDS[test](model, F.cross_entropy, batches)
    assert set(operator.certificate) == {"slope", "symmetry", test}
    assert test in operator.plan
    if test == "difference":
        truth = differences(model, F.cross_entropy, batches)
        assert (dense(operator) - truth).norm() <= 1e-7 * truth.norm()


def test_a_wrong_second_derivative_does_not_keep_the_gauss_newton_matrix_back() -> None:
    """It needs first derivatives alone."""
    wrong, right = (og.GaussNewtonOperator(net(middle), F.cross_entropy, data()) for middle in (Cubic(second=0.0), Cubic()))
    torch.testing.assert_close(dense(wrong), dense(right), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_matrix_of_another_kind_is_tested_by_slope_and_symmetry() -> None:
    """H + G, which is neither the slope of a gradient nor made of differences of outputs alone."""

    def forward(*given: Any) -> Any:
        product, gradient, value = HESSIAN.forward(*given)
        return product + GAUSS_NEWTON.forward(*given)[0], gradient, value

    class Both(CurvatureOperator):
        formula = Formula("sum", forward, lambda *given: HESSIAN.reverse(*given) + GAUSS_NEWTON.reverse(*given))

    model, batches = net(nn.Tanh()), data()
    hessian, gauss_newton, both = (kind(model, F.cross_entropy, batches) for kind in (*KINDS.values(), Both))
    assert both.certificate == ("slope", "symmetry")
    v = torch.ones(both.size, dtype=torch.float64)
    torch.testing.assert_close(both @ v, hessian @ v + gauss_newton @ v)


def test_a_wrong_function_in_the_loss_is_refused_as_the_loss() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(Power.apply(outputs, 1.0, 0.0), targets)

    with pytest.raises(ConfigurationError, match="'the loss' computes with Power"):
        og.HessianOperator(net(nn.Tanh()), loss, data())


def test_a_cohort_is_tested_too() -> None:
    objective = og.Objective(net(Cubic(second=0.5)), F.cross_entropy, data())
    with pytest.raises(ConfigurationError, match="Cubic"):
        CohortHessian(objective, objective.theta.repeat(2, 1))


def test_a_gradient_that_torch_scales_is_refused_by_the_name_of_its_parameter() -> None:
    model = nn.Sequential(nn.Embedding(4, 3, scale_grad_by_freq=True), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)).double()
    batches = [(torch.tensor([[0, 1], [0, 2], [0, 0]]), torch.tensor([0, 1, 2]))]
    with pytest.raises(ConfigurationError, match=r"derivatives by '0\.weight'"):
        og.HessianOperator(model, F.cross_entropy, batches)


KINKED = {
    "ReLU": lambda: nn.ReLU(),
    "leaky ReLU": lambda: nn.LeakyReLU(0.3),
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.3),
    "maximum over pairs": lambda: nn.Sequential(nn.Linear(3, 6), nn.MaxPool1d(2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINKED)
def test_kinks_refuse_nothing(name: str) -> None:
    model, batches = net(KINKED[name]()).double(), data(40, 4)
    operator = og.HessianOperator(model, F.cross_entropy, batches)
    assert {"slope", "symmetry"} <= set(operator.certificate)
    assert operator.method == "traced", operator.fallback_reason


def test_kinks_by_the_thousand_refuse_nothing() -> None:
    """Of 64,000 rectifiers a step crosses some: shorter ones are found that cross none, or the other tests decide."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4000), nn.ReLU(), nn.Linear(4000, 3)).double()
    operator = og.HessianOperator(model, F.cross_entropy, data(16, 4))
    assert {"slope", "symmetry"} <= set(operator.certificate)


def test_at_a_minimum_where_the_gradient_is_rounding_nothing_is_refused() -> None:
    ((inputs, _),) = data(12, 4)
    model = nn.Linear(4, 1).double()
    solution = torch.linalg.lstsq(torch.cat([inputs, torch.ones(12, 1).double()], 1), inputs.sum(1, keepdim=True).sin()).solution
    model.weight.data, model.bias.data = solution[:4].T.contiguous(), solution[4]
    operator = og.HessianOperator(model, F.mse_loss, [(inputs, inputs.sum(1, keepdim=True).sin())])
    assert operator.gradient.norm() < 1e-12
    assert set(operator.certificate) == {"slope", "symmetry", "difference"}


@pytest.mark.parametrize("scale", [1.0, 6.0, 20.0])
@pytest.mark.parametrize("kind", [*KINDS.values(), og.EmpiricalFisherOperator])
def test_a_network_whose_outputs_saturate_is_not_refused(scale: float, kind: Any) -> None:
    """Its loss and curvature are near rounding, 1e-12 and less at the largest scale."""
    model = net(nn.Tanh(), scale)
    ((inputs, _),) = data(12, 4)
    kind(model, F.cross_entropy, [(inputs, model(inputs).argmax(1))])


@pytest.mark.parametrize("kind", [og.HessianOperator, og.GaussNewtonOperator, og.EmpiricalFisherOperator])
@pytest.mark.parametrize("weight", [-2.0, 0.5, 3.0])
def test_a_single_parameter_is_measured_on_either_side_of_the_minimum(weight: float, kind: Any) -> None:
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, weight)
    inputs = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    operator = kind(model, nn.MSELoss(), [(inputs, inputs)], dtype=torch.float64)  # L = 2.5 (w − 1)²
    of_fisher = 4 * (weight - 1) ** 2 * (1 + 16) / 2  # the mean of (2x²(w − 1))²
    expected = of_fisher if kind is og.EmpiricalFisherOperator else 5.0
    assert (operator @ torch.ones(1, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_a_loss_of_tiny_numbers_is_tested_as_any_other() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-9 * F.cross_entropy(outputs, targets)

    assert "difference" in og.HessianOperator(net(nn.Tanh()), loss, data()).certificate
    with pytest.raises(ConfigurationError, match="Cubic"):
        og.HessianOperator(net(Cubic(second=0.0)), loss, data())


NORMED = {
    "weight_norm": lambda: nn.utils.weight_norm(nn.Linear(3, 3)),
    "weight_norm over all": lambda: nn.utils.weight_norm(nn.Linear(3, 3), dim=None),
    "parametrised": lambda: parametrizations.weight_norm(nn.Linear(3, 3), dim=1),
    "of a convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), parametrizations.weight_norm(nn.Conv1d(1, 2, 2)), nn.Flatten(), nn.Linear(4, 3)
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", NORMED)
def test_weight_norm_of_every_kind_is_right_and_traced(name: str) -> None:
    torch.manual_seed(0)
    model, batches = net(NORMED[name]()).double(), data()
    operator = og.HessianOperator(model, F.cross_entropy, batches)
    found, truth = dense(operator), differences(model, F.cross_entropy, batches)
    assert operator.method == "traced", operator.fallback_reason
    assert (found - truth).norm() <= 1e-7 * truth.norm()


BAGS = {
    "an embedding, padded at its first": (lambda: nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Flatten()), 0),
    "an embedding, padded at its last": (lambda: nn.Sequential(nn.Embedding(5, 3, padding_idx=-1), nn.Flatten()), 4),
    "sparse gradients": (lambda: nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Flatten()), None),
    "a bag of means": (lambda: nn.EmbeddingBag(5, 6, padding_idx=0), None),
    "a bag of sums": (lambda: nn.EmbeddingBag(5, 6, mode="sum"), None),
    "a bag of maxima": (lambda: nn.EmbeddingBag(5, 6, mode="max", padding_idx=1), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAGS)
def test_embeddings_and_bags_are_as_in_training(name: str) -> None:
    """The row of padding stays where it is: by it and of it there is no derivative."""
    torch.manual_seed(0)
    build, frozen = BAGS[name]
    model = nn.Sequential(build(), nn.Tanh(), nn.Linear(6, 3)).double()
    for parameter in model.parameters():
        parameter.data.normal_()
    batches = [(torch.tensor([[0, 1], [4, 4], [2, 3], [1, 0], [3, 4]]), torch.tensor([0, 1, 2, 0, 1]))]
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = False
    truth = differences(model, F.cross_entropy, batches)
    if frozen is not None:
        truth[:, 3 * frozen : 3 * frozen + 3] = 0
    operator = og.HessianOperator(build_again(name, model), F.cross_entropy, batches)
    assert operator.method == "traced", operator.fallback_reason
    assert (dense(operator) - truth).norm() <= 1e-7 * truth.norm()
    assert operator.loss == pytest.approx(F.cross_entropy(model(batches[0][0]), batches[0][1]).item(), rel=1e-12)


def build_again(name: str, model: nn.Module) -> nn.Module:
    """The module as it was made, at the same θ."""
    twin = nn.Sequential(BAGS[name][0](), nn.Tanh(), nn.Linear(6, 3)).double()
    twin.load_state_dict(model.state_dict())
    return twin


def test_padding_of_an_embedding_that_shares_its_weight_is_refused() -> None:
    """Its row moves with the output layer, yet lookups of it do not: no function has these derivatives."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = nn.Embedding(5, 3, padding_idx=0), nn.Linear(3, 5, bias=False)
            self.o.weight = self.e.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.o(self.e(ids).sin().mean(1) + 1)

    torch.manual_seed(0)
    model = Tied().double()
    model.e.weight.data.normal_()
    with pytest.raises(ConfigurationError, match=r"'e\.weight'"):
        og.HessianOperator(model, F.cross_entropy, [(torch.tensor([[0, 1], [0, 2], [3, 4]]), torch.tensor([0, 1, 2]))])


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


@pytest.mark.parametrize("chosen", ["0.*", "unused.*"])
def test_parameters_that_have_no_part_in_the_loss_are_refused(chosen: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), Detached(), nn.Linear(3, 3)).double()
    model.unused = nn.Linear(2, 2).double()
    model.forward = lambda x: model.get_submodule("2")(model.get_submodule("1")(model.get_submodule("0")(x)))
    with pytest.raises(ConfigurationError, match="does not depend on the chosen parameters"):
        og.HessianOperator(model, F.cross_entropy, data(), parameters=chosen)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["bytes", "attribute"])
def test_modules_that_compute_in_float32_inside_are_tested_in_it(module: str) -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.mix = nn.Linear(4, 3), torch.eye(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.float() / 255 if module == "bytes" else F.one_hot(x[:, 0].long() % 4, 4).to(self.mix) @ self.mix)

    torch.manual_seed(0)
    batches = [(torch.randint(256, (20, 4), dtype=torch.uint8), torch.randint(3, (20,)))]
    operator = og.HessianOperator(Inside(), F.cross_entropy, batches)
    assert set(operator.certificate) == {"slope", "symmetry", "difference"}
    assert operator.double() is None
    assert og.lanczos(operator, 2).eigenvalues.isfinite().all()


def test_an_operator_says_once_that_its_module_has_moved() -> None:
    model, batches = net(nn.Tanh()), data()
    operator, vector = og.HessianOperator(model, F.cross_entropy, batches), torch.ones(27, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = operator @ vector
        there = operator.at(operator.theta)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    optimiser.step()
    with pytest.warns(UserWarning, match="have moved since"):
        after = operator @ vector
    assert torch.equal(before, after)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator @ vector
        there @ vector


@pytest.mark.parametrize("move", ["vector_to_parameters", "load_state_dict"])
def test_so_it_does_however_they_were_moved(move: str) -> None:
    model = net(nn.Tanh())
    operator = og.HessianOperator(model, F.cross_entropy, data())
    if move == "load_state_dict":
        model.load_state_dict(net(nn.Tanh(), seed=5).state_dict())
    else:
        nn.utils.vector_to_parameters(torch.zeros(27).double(), model.parameters())
    with pytest.warns(UserWarning, match="have moved since"):
        operator.loss  # noqa: B018


@pytest.mark.parametrize("where", [0.0, 1e-2])
def test_parameters_at_the_tip_of_a_cone_are_named_in_a_warning(where: float) -> None:
    model = nn.Linear(4, 2).double()
    for parameter in model.parameters():
        parameter.data.fill_(where)
    inputs = data()[0][0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        operator = og.HessianOperator(model, lambda z, y: z.norm(dim=1).mean(), [(inputs, torch.zeros(len(inputs)))])
    said = [str(each.message) for each in caught if "no second derivative" in str(each.message)]
    assert bool(said) == ("difference" not in operator.certificate) == (where == 0)
    assert all("by 'weight' (" in each or "by 'bias' (" in each for each in said)
