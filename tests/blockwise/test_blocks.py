"""Blocks against the dense Hessian in float64, and stated errors against their frequency."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.blockwise import BlockOperator, couplings, partition
from orograph.errors import ConfigurationError


def network() -> og.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return og.Objective(model, F.cross_entropy, [(torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 3)])


def dense(operator: og.LinearOperator) -> Tensor:
    matrix = operator @ torch.eye(operator.size, dtype=operator.dtype)
    return (matrix + matrix.T) / 2


def test_parts_of_theta_by_tensor_module_and_globs() -> None:
    layout = network().layout
    assert [len(each) for each in partition(layout).values()] == [30, 5, 20, 4, 12, 3]
    assert {name: len(each) for name, each in partition(layout, "module").items()} == {"0": 35, "2": 24, "4": 15}
    named = partition(layout, {"biases": "*.bias", "first": "0.weight"})
    assert named["biases"].tolist() == [*range(30, 35), *range(55, 59), *range(71, 74)]
    assert named["first"].tolist() == list(range(30))


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("layer", "layer"),
        ({"a": "0.*", "b": "0.weight"}, "'0.weight' is in block 'a'"),
        ({"a": "head.*"}, "head"),
        ({}, "no block"),
    ],
)
def test_parts_that_cannot_be_are_refused(by: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        partition(network().layout, by)  # type: ignore[arg-type]


def test_a_block_is_that_of_the_dense_matrix() -> None:
    objective = network()
    operator = og.HessianOperator.of(objective)
    whole, places = dense(operator), partition(objective.layout, "module")["2"]
    assert torch.allclose(dense(BlockOperator(operator, places)), whole[places][:, places], rtol=0, atol=1e-14)


@pytest.mark.slow
def test_every_blocks_numbers_are_those_of_the_dense_blocks() -> None:
    objective = network()
    operator = og.HessianOperator.of(objective)
    whole, blocks = dense(operator), partition(objective.layout, "module")
    found = og.block_curvature(operator, blocks, k=3, probes=80, tolerance=1e-8)  # as many as a block has parameters: exact
    for row, (name, own) in enumerate(blocks.items()):
        block = whole[own][:, own]
        values = torch.linalg.eigvalsh(block).flip(0)
        assert torch.allclose(found.spectra[name].eigenvalues, values[:3], rtol=1e-10)
        assert found.couplings.traces[row].value == pytest.approx(block.trace().item(), rel=1e-12)
        assert found.couplings.effective_rank(name).value == pytest.approx((values.sum() ** 2 / values.square().sum()).item())
        for column, other in enumerate(blocks.values()):
            assert found.couplings.squares[row, column].item() == pytest.approx(whole[own][:, other].square().sum().item())
    assert found.couplings.trace.value == pytest.approx(whole.trace().item(), rel=1e-12)  # Σ of the blocks' is the whole's
    inside = sum(whole[own][:, own].square().sum() for own in blocks.values())
    assert found.couplings.off_diagonal.value == pytest.approx(1 - (inside / whole.square().sum()).item(), rel=1e-10)
    assert found.products == operator.products - operator.size  # the dense one


def test_stated_errors_hold_the_truth_as_often_as_they_say() -> None:
    # 60 seeds of 95 % intervals: fewer than 50 of them by chance once in 1,000.
    torch.manual_seed(1)
    matrix = torch.randn(60, 60, dtype=torch.float64)
    matrix = matrix @ matrix.T
    blocks = {"a": torch.arange(20), "b": torch.arange(20, 40), "c": torch.arange(40, 60)}
    whole, inside = matrix.square().sum(), sum(matrix[own][:, own].square().sum() for own in blocks.values())
    held = {"trace": 0, "coupling": 0, "own": 0, "off": 0}
    for seed in range(60):
        found = couplings(og.MatrixOperator(matrix), blocks, probes=8, seed=seed)
        held["trace"] += abs(found.trace.value - matrix.trace().item()) <= found.trace.margin
        for name, other in (("coupling", "b"), ("own", "a")):
            stated, truth = found.square("a", other), matrix[:20, blocks[other]].square().sum().item()
            held[name] += abs(stated.value - truth) <= stated.margin
        held["off"] += abs(found.off_diagonal.value - (1 - inside / whole).item()) <= found.off_diagonal.margin
    assert min(held.values()) >= 50, held


def test_norms_between_blocks_are_unbiased() -> None:
    torch.manual_seed(2)
    root = torch.randn(60, 6, dtype=torch.float64)
    matrix = root @ root.T  # of few eigenvalues, as Hessians are: norms scatter by half of their size
    blocks = {"a": torch.arange(20), "b": torch.arange(20, 60)}
    found = [couplings(og.MatrixOperator(matrix), blocks, probes=4, seed=seed).squares[0, 1].item() for seed in range(100)]
    norms, truth = torch.tensor(found), matrix[:20, 20:].square().sum().item()
    assert abs(norms.mean().item() - truth) < 3 * norms.std().item() / 10  # weighed by what errors were estimated it is 6 below


def test_effective_ranks_have_errors_where_traces_are_small() -> None:
    # An indefinite matrix: its blocks' traces are no larger than their errors. 60 seeds of 95 % intervals, as above.
    torch.manual_seed(2)
    half = torch.randn(60, 60, dtype=torch.float64)
    matrix = half + half.T
    blocks = {"a": torch.arange(20), "b": torch.arange(20, 40), "c": torch.arange(40, 60)}
    norms = {name: matrix[own][:, own].square().sum().item() for name, own in blocks.items()}
    ranks = {name: matrix[own, own].sum().item() ** 2 / norms[name] for name, own in blocks.items()}
    held, norm = dict.fromkeys(blocks, 0), 0
    for seed in range(60):
        found = couplings(og.MatrixOperator(matrix), blocks, probes=4, seed=seed)
        for name, rank in ranks.items():
            stated, square = found.effective_rank(name), found.square(name, name)
            assert stated.error > 0
            held[name] += abs(stated.value - rank) < stated.margin
            norm += abs(square.value - norms[name]) <= square.margin
    assert min(held.values()) >= 50
    assert norm >= 160  # of 180; of an indefinite matrix the products of two vectors alone would hold 140


def test_a_block_without_a_trace_has_no_effective_rank() -> None:
    matrix = og.MatrixOperator(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))  # ± 1, as of w₁w₂ at its saddle
    found = couplings(matrix, {"all": torch.arange(2)})
    assert (found.effective_rank("all").value, found.effective_rank("all").error) == (0.0, 0.0)


def test_places_shared_or_outside_are_refused() -> None:
    operator = og.MatrixOperator(torch.eye(4))
    with pytest.raises(ConfigurationError, match="share"):
        couplings(operator, {"a": torch.tensor([0, 1]), "b": torch.tensor([1, 2])})
    with pytest.raises(ConfigurationError, match="between 0 and 3"):
        couplings(operator, {"a": torch.tensor([4])})
    with pytest.raises(ConfigurationError, match="at least 3"):
        couplings(operator, {"a": torch.tensor([0])}, probes=2)
