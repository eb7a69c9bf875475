"""Products out of gradients alone, held against exact ones; and what a decomposition claims of them."""

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from orograph.curvature import DifferenceOperator
from orograph.errors import ConfigurationError


def exact() -> og.HessianOperator:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    return og.HessianOperator(model, nn.CrossEntropyLoss(), [(torch.randn(50, 6).double(), torch.randint(0, 3, (50,)))])


@pytest.mark.slow
def test_products_agree_with_exact_ones_as_far_as_rounding_lets_them() -> None:
    operator = exact()
    vector = torch.randn(operator.size, dtype=torch.float64)
    expected = operator @ vector
    gradient = lambda theta: operator.at(theta.double()).gradient  # noqa: E731
    # ε^⅔ is 4e-11 and 2e-5
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-3)):
        single = DifferenceOperator(lambda theta, dtype=dtype: gradient(theta).to(dtype), operator.theta.to(dtype))
        assert ((single @ vector.to(dtype)).double() - expected).norm() < tolerance * expected.norm()
    assert torch.equal(single @ torch.zeros(operator.size), torch.zeros(operator.size))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_no_sign_and_no_digit_is_claimed_that_rounding_could_have_made(kind: torch.dtype) -> None:
    operator = exact()
    dense = torch.stack([operator @ row for row in torch.eye(operator.size, dtype=torch.float64)])
    truth = torch.linalg.eigvalsh((dense + dense.T) / 2)

    def gradient(theta: Tensor) -> Tensor:
        return operator.at(theta.to(kind).double()).gradient.to(kind).float()  # weights and gradients in half the digits

    hessian = DifferenceOperator(gradient, operator.theta.float(), rounding=torch.finfo(kind).eps)
    found = og.lanczos(hessian, k=60, tolerance=0.05, max_products=300)
    error = found.residuals + torch.tensor(found.noise_level).nan_to_num()  # nan where it was not asked for
    claimed = found.eigenvalues.abs() > error
    assert claimed.sum() > 40
    assert claimed.all() == (kind == torch.float32)
    for value, allowed in zip(found.eigenvalues[claimed], error[claimed], strict=True):
        nearest = (truth - value).abs().min()
        assert nearest <= allowed  # an eigenvalue of the true matrix lies as near as is claimed, and so on the same side of zero


def test_what_no_difference_can_be_made_of_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="bfloat16"):
        DifferenceOperator(lambda theta: theta, torch.ones(3, dtype=torch.bfloat16))
    with pytest.raises(ConfigurationError, match="rounding"):
        DifferenceOperator(lambda theta: theta, torch.ones(3), rounding=2.0)
    for gradient, found in ((lambda theta: None, "NoneType"), (lambda theta: theta[:2], r"shape \(2,\)")):
        with pytest.raises(ConfigurationError, match=rf"shape of θ, \(3,\), not .*{found}"):
            DifferenceOperator(gradient, torch.ones(3)) @ torch.ones(3)


def test_gradients_may_be_given_in_the_same_tensor_every_time() -> None:
    same, theta = torch.empty(3), torch.ones(3)
    operator = DifferenceOperator(lambda theta: torch.pow(theta, 2, out=same), theta)
    torch.testing.assert_close(operator @ theta, 2 * theta, rtol=1e-3, atol=0.0)
