"""How many samples a product takes at once: what the trace tells of it, and what runs do that were begun before it was asked."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from orograph.curvature import engine
from orograph.curvature.chunks import better_length, dividing, first_length, fitting_width, foreseen_length, pays_together
from orograph.curvature.tracing.stages import Stage
from orograph.curvature.tracing.traced import Trace
from orograph.curvature.traffic import moved_by_a_kernel
from orograph.settings.shared import ParallelExecution
from orograph.sweep.settings import SweepNumerics

CPU, MUCH = torch.device("cpu"), 4 * 2**30


def product(kernels: int, moved: float, live: float) -> Stage:
    """A stage of so many kernels, which move so much each, in MiB."""
    return Stage(lambda: (), (), (), 0, int(live * 2**20), kernels, int(kernels * moved * 2**20))


def test_the_first_length_is_that_of_plans_made_before_the_trace_was_asked() -> None:
    # docs/benchmarks.md: the published network on 60,000 and on 6,000 images, and the one of 512
    for images, activations, parameters, length in (
        (60_000, 4208, 118_282, 1250),
        (6_000, 4208, 118_282, 1200),
        (6_000, 7280, 669_706, 750),
    ):
        assert first_length(images, 3 * activations, 4 * parameters, CPU, MUCH) == length


def test_runs_that_do_not_say_what_decides_keep_the_first_length_and_new_ones_ask_the_trace() -> None:
    assert SweepNumerics.model_validate({"threads": 1}).chunks == "summed"
    assert ParallelExecution().shared(SweepNumerics()).chunks == "tiled"
    assert ParallelExecution(parallel="processes").shared(SweepNumerics()).chunks == "tiled"


def test_chunks_of_many_small_kernels_become_longer_and_no_others() -> None:
    assert better_length(4096, 128, product(50, 1.4, 3.6), 1e5, CPU, MUCH) == 128  # worth their calls
    assert better_length(4096, 128, product(35, 0.9, 1.5), 1e5, CPU, MUCH) == 128  # not worth another trace
    assert better_length(4096, 16, product(350, 0.3125, 5), 1e5, CPU, MUCH) == 64
    assert better_length(40, 16, product(350, 0.3125, 5), 1e5, CPU, MUCH) == 40  # there are no more
    assert better_length(4096, 16, product(350, 0.3125, 16), 1e5, CPU, MUCH) == 32  # or the cache would not hold what lives
    assert better_length(4096, 16, product(350, 0.3125, 40), 1e5, CPU, MUCH) == 16
    assert better_length(4096, 16, product(350, 0.3125, 5), 1e5, CPU, 128 * 100_000) == 32  # a quarter of the memory
    assert better_length(4096, 16, product(350, 0.3125, 5), 1e5, torch.device("cuda"), MUCH) == 16


def test_what_the_loss_foretells_spares_a_trace() -> None:
    moved = 0.3125 * 2**20
    length = foreseen_length(4096, 16, moved, 1e5, CPU, MUCH)
    assert length == 64  # of 83, the divisor
    assert better_length(4096, length, product(350, 0.3125 * length / 16, 5), 1e5, CPU, MUCH) == length
    assert foreseen_length(4096, 16, 3 * moved, 1e5, CPU, MUCH) == 16  # not worth it
    assert foreseen_length(4096, 16, moved, 1e5, CPU, 128 * 100_000) == 32  # a quarter of the memory
    assert foreseen_length(4096, 16, 0, 1e5, CPU, MUCH) == foreseen_length(4096, 16, moved, 1e5, torch.device("cuda"), MUCH) == 16


def test_chunks_that_are_nearly_equal_become_equal_where_there_is_a_divisor() -> None:
    given = ((125, 63), (1437, 288), (60_000, 1250), (479, 160), (7, 7))
    assert [dividing(*each) for each in given] == [125, 479, 1250, 160, 7]


def test_tangents_go_together_where_their_kernels_are_small() -> None:
    small, large = product(234, 0.25, 5), product(234, 0.6, 5)
    assert [pays_together(small, width, CPU) for width in (2, 3, 4, 8)] == [False, False, True, True]
    assert not pays_together(large, 8, CPU)
    assert pays_together(large, 2, torch.device("cuda"))


def test_what_kernels_of_a_loss_move_is_counted_on_a_few_samples() -> None:
    """What grows with the samples is inputs and outputs, read or written by one kernel or two; what does not, the weights."""
    data = [(torch.randn(32, 3), torch.randn(32, 5))]
    objective = og.Objective(nn.Linear(3, 5), nn.MSELoss(), data)
    few, all_of_them = moved_by_a_kernel(objective, 4), moved_by_a_kernel(objective, 32)
    each = (all_of_them - few) / 28  # bytes of a sample, by kernel
    assert few - 4 * each == pytest.approx(moved_by_a_kernel(objective, 8) - 8 * each)  # what does not grow: the weights
    layer = 4 * (3 + 5)
    assert layer / 10 < each < 3 * layer


def test_as_many_tangents_go_together_as_the_cache_holds() -> None:
    assert [fitting_width(100, [2**20, live * 2**20], CPU) for live in (1, 4, 11, 90)] == [8, 8, 2, 1]
    assert fitting_width(3, [2**20], CPU) == 3  # what memory holds
    assert fitting_width(100, [], CPU) == fitting_width(100, [2**40], torch.device("cuda")) == 8


@pytest.mark.slow
def test_the_trace_counts_what_kernels_move_and_what_lives_at_once() -> None:
    model = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 2))
    objective = og.Objective(model, nn.CrossEntropyLoss(), [(torch.randn(256, 64), torch.randint(0, 2, (256,)))])
    one, two = (Trace(objective, og.HessianOperator.formula, next(objective.batches(length))).tangent for length in (128, 256))
    assert one.kernels == two.kernels
    assert two.peak_bytes == pytest.approx(2 * one.peak_bytes, rel=0.2)
    inputs, hidden, weights = 4 * 64, 4 * 48, 4 * 48 * 64
    # the first layer reads its inputs and writes a tangent; its gradient reads both kinds and adds to the weights
    assert one.moved_bytes > 128 * (2 * inputs + 2 * hidden) + 3 * weights
    # neither keeps the inputs, nor more than a few tangents of a layer
    assert 128 * hidden <= one.peak_bytes < 4 * 128 * hidden


@pytest.mark.slow
def test_products_are_the_same_however_the_samples_are_cut() -> None:
    model = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(12, 12), nn.Tanh())], nn.Linear(12, 3)).double()
    data = [(torch.randn(4000, 12).double(), torch.randint(0, 3, (4000,)))]
    objectives = [og.Objective(model, nn.CrossEntropyLoss(), data, memory="3MB") for _ in range(2)]
    objectives[0].memory = 2**32
    objectives[1].chunks = "summed"
    one, other = map(og.HessianOperator.of, objectives)
    assert one.plan != other.plan
    vector = torch.randn(one.size, dtype=torch.float64)
    torch.testing.assert_close(one @ vector, other @ vector)  # float64, other orders of summation


class Read:
    """Samples that are made anew whenever they are read, and how often they were."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.times += 1
        generator = torch.Generator().manual_seed(0)
        for _ in range(30):
            yield torch.randn(400, 64, generator=generator), torch.randint(0, 3, (400,), generator=generator)


@pytest.mark.slow
def test_a_block_reads_data_and_computes_what_is_not_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 3)), Read()
    operator = og.HessianOperator(model, nn.CrossEntropyLoss(), data, memory="1MiB")
    block = torch.randn(operator.size, 5)
    monkeypatch.setattr(engine, "pays_together", lambda *given: False)  # one tangent after another
    assert operator.gradient.norm() > 0  # the pass that every point takes
    before = data.times
    together = operator @ block
    assert data.times == before + 1
    assert torch.equal(together, torch.stack([operator @ column for column in block.T], dim=1))
