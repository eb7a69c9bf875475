"""Data that are read again at each pass: the numbers of data that are held, in a part of their memory.

Independent of the code: the same samples held as one batch are the truth; memory is what the system says of a process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import orograph as og
from orograph.errors import DataError
from orograph.transfer import ahead

COUNT, WIDTH = 1000, 100
SMALL = COUNT * WIDTH * 3  # bytes: three quarters of the set


def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, WIDTH, generator=generator)
    return inputs, (inputs[:, :3].argmax(1) + (inputs[:, 3] > 1)).clamp(max=2)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(WIDTH, 3), nn.Tanh(), nn.Linear(3, 3))


def loader(batch: int = 7, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*samples()), batch_size=batch, **options)


def both(loss: Any = F.cross_entropy, **options: Any) -> tuple[og.Objective, og.Objective]:
    """Streamed, and held."""
    found = og.Objective(net(), loss, loader(**options), memory=SMALL), og.Objective(net(), loss, [samples()])
    assert (found[0].streamed, found[1].streamed) == (True, False)
    return found


def close(found: Tensor, truth: Tensor) -> None:
    """To 1e-6 of the largest: sums of float32 in another order."""
    assert (found - truth).abs().max() <= 1e-6 * truth.abs().max()


def test_loss_and_gradient_are_those_of_data_that_are_held() -> None:
    streamed, held = both()
    assert streamed.count == held.count == COUNT
    assert streamed.loss(held.theta) == pytest.approx(held.loss(held.theta), rel=1e-6)
    close(streamed.gradient(held.theta), held.gradient(held.theta))
    assert torch.equal(streamed.targets, held.targets)


@pytest.mark.slow
def test_products_class_shares_and_a_surface_are_those_of_data_that_are_held() -> None:
    streamed, held = both()
    operators = [og.HessianOperator.of(each) for each in (streamed, held)]
    vectors = torch.randn(held.theta.numel(), 2, generator=torch.Generator().manual_seed(2))
    for vector in (vectors[:, 0], vectors):
        close(operators[0] @ vector, operators[1] @ vector)
    close(operators[0].gradient, operators[1].gradient)
    moved = held.theta + 0.1 * vectors[:, 1]
    close(operators[0].at(moved) @ vectors[:, 0], operators[1].at(moved) @ vectors[:, 0])
    pairs = og.lanczos(operators[1], 2, tolerance=1e-2)
    shares = [og.class_shares(each, held.theta, pairs) for each in (streamed, held)]
    close(shares[0].shares, shares[1].shares)
    surfaces = [og.surface(each, held.theta, pairs.eigenvectors, points=25) for each in (streamed, held)]
    close(surfaces[0].losses, surfaces[1].losses)
    assert surfaces[0].losses.shape == (25, 25)


@pytest.mark.slow
def test_chunks_hold_the_same_samples_whatever_the_batches_of_the_loader() -> None:
    inputs, targets = samples()
    for batch in (1, 64, 200):
        streamed = og.Objective(net(), F.cross_entropy, loader(batch), memory=SMALL)
        found = list(streamed.batches(90))
        assert [len(each) for _, each in found] == [90] * 11 + [10]
        assert torch.equal(torch.cat([each for each, _ in found]), inputs)
        assert torch.equal(torch.cat([each for _, each in found]), targets)


def test_some_samples_are_held_in_the_order_asked_for() -> None:
    streamed, held = both()
    chosen = torch.tensor([200, 3, 3, 999, 0])
    inputs, targets = next(streamed.subset(chosen).batches())
    assert torch.equal(inputs, samples()[0][chosen])
    assert torch.equal(targets, samples()[1][chosen])
    assert streamed.subset(chosen).loss(held.theta) == pytest.approx(held.subset(chosen).loss(held.theta), rel=1e-6)
    close(streamed.to(torch.float64).gradient(held.theta.double()), held.to(torch.float64).gradient(held.theta.double()))


@pytest.mark.slow
def test_what_a_loss_leaves_out_or_reads_as_a_whole_is_the_same() -> None:
    ignoring = nn.CrossEntropyLoss(ignore_index=2, weight=torch.tensor([1.0, 2.0, 0.5]))
    streamed, held = both(ignoring)
    assert streamed.counted == held.counted < COUNT
    assert streamed.loss(held.theta) == pytest.approx(held.loss(held.theta), rel=1e-6)

    def mixing(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) + (outputs - outputs.mean(0)).square().mean()

    whole = og.Objective(net(), mixing, loader(50), memory=SMALL)
    batches = og.Objective(net(), mixing, list(loader(50)))
    assert whole.streamed
    assert whole.whole == batches.whole
    close(whole.gradient(whole.theta), batches.gradient(batches.theta))


def test_random_streams_go_on_as_if_nothing_had_been_read() -> None:
    streamed, held = both()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    streamed.loss(held.theta)
    assert torch.equal(torch.random.get_rng_state(), before)


class Augmenting:
    """Adds noise to the inputs at each pass."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = samples()
        return zip((inputs + torch.rand(1)).split(50), targets.split(50), strict=True)


class Once:
    """Is empty from the third pass on: the first two find that it does not fit."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        return iter([]) if self.passes > 2 else zip(*(each.split(50) for each in samples()), strict=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (loader(shuffle=True), "another order.*shuffle=False"),
        (Augmenting(), "another content"),
        (Once(), "none the second"),
        (loader(drop_last=True), "drops its last batch, 6 of 1000 samples; pass it drop_last=False"),
    ],
)
def test_what_is_not_the_same_at_each_pass_is_named(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        og.Objective(net(), F.cross_entropy, data, memory=SMALL)


class Lane:
    """A way to a device that writes down what happens."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def begin(self, batch: Any) -> Any:
        self.told.append(("begin", batch))
        return batch

    def arrived(self, under_way: Any) -> Any:
        self.told.append(("arrived", under_way))
        return under_way


def test_the_next_batch_is_on_its_way_before_the_one_at_hand_is_worked_on() -> None:
    lane = Lane()
    for batch in ahead(iter("abc"), lane):
        lane.told.append(("work", batch))
    told = "begin a, begin b, arrived a, work a, begin c, arrived b, work b, arrived c, work c"
    assert ", ".join(" ".join(each) for each in lane.told) == told
    assert list(ahead(iter("a"), Lane())) == ["a"]
    assert list(ahead(iter(""), Lane())) == []


@pytest.mark.slow
def test_every_pass_over_data_on_a_device_goes_by_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane()
    monkeypatch.setattr("orograph.streaming.lane_to", lambda device: lane)
    streamed, held = both()
    lane.told.clear()
    assert streamed.loss(held.theta) == pytest.approx(held.loss(held.theta), rel=1e-6)
    batches = -(-COUNT // 7)
    assert [step for step, _ in lane.told].count("begin") == batches
    assert [step for step, _ in lane.told].count("arrived") == batches
    assert streamed.to(torch.float64).loss(held.theta.double()) == pytest.approx(held.loss(held.theta), rel=1e-5)
    assert [step for step, _ in lane.told].count("begin") == 2 * batches


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_data_that_are_read_again_on_a_device_give_the_numbers_of_a_cpu() -> None:
    there = og.Objective(net().cuda(), F.cross_entropy, loader(), memory=SMALL)
    here = og.Objective(net(), F.cross_entropy, [samples()])
    assert there.streamed
    for _ in range(3):  # what is copied while others are worked on
        close(there.gradient(there.theta).cpu(), here.gradient(here.theta))


MEASURED = """
import re, sys, torch
import orograph as og
from torch.nn import functional as F

class Made:
    # 200 batches, made when they are asked for: of 320 kB where they are 800 wide
    def __init__(self, width):
        self.width = width
    def __iter__(self):
        first = torch.rand(100, self.width, generator=torch.Generator().manual_seed(0))
        for number in range(1, 201):
            inputs = first / number
            yield inputs, (inputs[:, 0] > 0.1).long()

def now(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

def work(width, budget):
    net = torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    objective = og.Objective(net, F.cross_entropy, Made(width), memory=budget)
    operator = og.HessianOperator.of(objective)
    pairs = og.lanczos(operator, 2, tolerance=0.1, max_products=4)
    theta = objective.theta
    return [objective.loss(theta), objective.gradient(theta), og.class_shares(objective, theta, pairs),
            og.surface(objective, objective.theta, pairs.eigenvectors, points=3)]

torch.set_num_threads(1)
budget = 16 * 10**6
work(8, budget // 100)  # whatever is imported and compiled once
for memory in (budget, 10**9):
    before = now("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    work(800, memory)
    print((now("VmHWM") - before) / budget)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_set_four_times_the_budget_is_worked_on_within_it() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, timeout=300, check=True, env=environment
    )
    streamed, held = map(float, done.stdout.split())
    assert streamed <= 1
    assert held > 4  # what holding it takes, so that the measurement is one
