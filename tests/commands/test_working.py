"""What long work tells: a line a minute where there is no terminal, and a time left that does not swing."""

import contextlib
import io
import math
import socket
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console

from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError, RunError
from orograph.figures.marks import band, is_logarithmic, signed_scale, strength_axis
from orograph.figures.style import styled
from orograph.measures.measurement import measure
from orograph.spectral import basis
from orograph.work import clusters, loop, progress
from orograph.work.loop import Task, work_through
from orograph.work.pools import Here, WorkerLost, _relayed
from orograph.work.progress import Working, WorkProgress


class Clock:
    """Seconds that pass when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_without_a_terminal_long_work_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, text = Clock(monkeypatch), io.StringIO()
    with Working("tracing", console=Console(file=text), quiet=False) as working:
        for count in range(235):  # one product a second
            clock.now += 1
            working.say(f"[/b] spectrum: product {count}")
    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "[/b] spectrum: product 59, 60 s"


def test_a_long_result_is_told_once_a_minute_too_and_quiet_work_never(monkeypatch: pytest.MonkeyPatch) -> None:
    for quiet in (False, True):
        clock, text = Clock(monkeypatch), io.StringIO()
        with WorkProgress("points", 3, quiet=quiet, console=Console(file=text)) as shown:
            for _ in range(130):
                clock.now += 1
                shown.say("epoch")
        assert len(text.getvalue().splitlines()) == (0 if quiet else 2)


def test_two_thousand_results_are_a_line_a_minute_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, text = Clock(monkeypatch), io.StringIO()
    with WorkProgress("points", 2505, quiet=False, console=Console(file=text, width=200)) as shown:
        for number in range(2505):
            clock.now += 2
            failed = number == 700
            shown.completed(f"point {number}", "failed: no" if failed else "done", failed=failed)
    lines = text.getvalue().splitlines()
    assert len(lines) <= 2505 * 2 / 60 + 4
    assert lines[0].startswith("[1/2505] point 0")
    assert lines[-1].startswith("[2505/2505]")
    assert any("point 700: failed" in line for line in lines)


def test_the_time_left_does_not_swing_with_the_kind_of_the_last_result(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    shown = WorkProgress("steps", 40, work=40.0, quiet=True)
    ends, plain = [], []
    for number in range(30):
        clock.now += 10 if number % 10 < 5 else 90  # kinds whose work is guessed alike
        shown.completed("step", "done")
        assert shown._end is not None
        ends.append(shown._end)
        plain.append(clock.now + (clock.now - 100.0) * (39 - number) / (number + 1))
    swing = [max(map(abs, np.diff(each[4:]))) for each in (ends, plain)]  # of the end, from one result to the next
    assert swing[0] < 0.5 * swing[1]
    assert math.isclose(ends[-1], 100 + 40 * 50, rel_tol=0.15)


def test_an_address_at_which_nobody_answers_is_said_within_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    for address, words in [
        ("127.0.0.1:1", "no Ray cluster answers"),
        ("ray://127.0.0.1:1", "no Ray cluster answers"),
        ("tcp://[::1]:1", "no Ray cluster answers"),
        ("no-such-host.invalid:8786", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("nowhere", "host:port"),
        ("10.0.0.1:port", "host:port"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            clusters.require_answer("Ray cluster", address)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "greeting", "words"),
    [
        ("Dask scheduler", (58).to_bytes(8, "little"), ""),  # the length of what follows
        ("Ray cluster", bytes([0, 0, 24, 4, 0, 0, 0, 0, 0]), ""),  # the settings of HTTP/2
        ("Dask scheduler", b"\xff" * 8, "is no Dask scheduler"),
        ("Ray cluster", b"HTTP/1.1 400 Bad Request\r\n", "is no Ray cluster"),
        ("Dask scheduler", b"", "timed out"),
        ("Ray cluster", b"", "timed out"),
    ],
)
def test_a_listener_is_taken_if_it_greets_as_a_scheduler(
    monkeypatch: pytest.MonkeyPatch, what: str, greeting: bytes, words: str
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as aside, contextlib.ExitStack() as open_lines:

        def answer() -> None:
            line = open_lines.enter_context(server.accept()[0])
            line.sendall(greeting)

        aside.submit(answer)
        expected = pytest.raises(ConfigurationError, match=words) if words else contextlib.nullcontext()
        with expected:
            clusters.require_answer(what, f"tcp://127.0.0.1:{server.getsockname()[1]}")


def test_work_ends_when_the_scheduler_that_has_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Here):
        """Takes a task and never answers."""

        def __init__(self, address: str) -> None:
            self.line = clusters.Line("Dask scheduler", address)

        def submit(self, stage: str, *arguments: object) -> Future[tuple[object, float]]:
            return Future()

        def check(self) -> None:
            self.line.check()

    monkeypatch.setattr(loop, "PULSE", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    workers, tasks = Elsewhere(address), iter([Task("train", (), lambda *_: None, "one")])
    with pytest.raises(RunError, match=r"no Dask scheduler answers .* the same command does the rest"):
        work_through(workers, lambda: next(tasks, None))
    assert workers.line.dead


def test_a_cancelled_task_is_a_lost_one() -> None:
    inner: Future[bytes] = Future()
    outer = _relayed(inner, MemoryError)
    inner.cancel()
    inner.set_running_or_notify_cancel()
    with pytest.raises(WorkerLost, match="cancelled"):
        outer.result(timeout=5)


def test_so_is_one_whose_result_alone_tells_that_it_was_cancelled() -> None:
    class Cancelled(Future[bytes]):
        """As Dask's, when the connection to the scheduler is lost."""

        def exception(self, timeout: float | None = None) -> None:
            return None

        def result(self, timeout: float | None = None) -> bytes:
            raise CancelledError("scheduler-connection-lost")

    inner = Cancelled()
    outer = _relayed(inner, MemoryError)
    inner.set_result(b"")
    with pytest.raises(WorkerLost, match="connection-lost"):
        outer.result(timeout=5)


def test_a_mapped_basis_that_the_disk_cannot_hold_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    shards = Shards(1000)
    options: Any = {"dtype": torch.float32, "device": torch.device("cpu"), "memory": "1kB"}
    assert basis.Basis(3, shards, **options).mapped
    monkeypatch.setattr(basis.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"12 kB .*No space left on device.*TMPDIR"):
        basis.Basis(3, shards, **options)


@pytest.mark.slow
def test_a_measurement_whose_largest_basis_the_disk_cannot_hold_takes_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    data = [(torch.randn(8, 199, generator=torch.Generator().manual_seed(0)), torch.zeros(8, 1))]
    model, products = torch.nn.Linear(199, 1), list[str]()
    monkeypatch.setattr(basis.os, "posix_fallocate", full)
    with pytest.raises(RunError, match="basis of 64 kB is more than `memory` allows"):  # 80 vectors of 200 numbers
        measure(model, torch.nn.MSELoss(), data, k=1, memory="40kB", on_product=lambda name, _: products.append(name))
    assert not products


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [((1e-5, 1e-4, 1e-3, 1e-2), True), ((0.0, 1e-4, 1e-3, 1e-2), False), ((0.1, 0.2, 0.3), False), ((), False), ((0.5,), False)],
)
def test_ladders_by_factors_have_logarithmic_axes(strengths: tuple[float, ...], expected: bool) -> None:
    assert is_logarithmic(strengths) == expected
    with styled():
        figure = Figure()
        axes = figure.subplots()
        axes.plot(strengths, strengths)
        strength_axis(axes, strengths)
        assert axes.get_xscale() == ("log" if expected else "linear")
        if strengths:
            low, high = axes.get_xlim()
            band(axes, strengths[0], strengths[0] * 1.0001)
            assert axes.get_xlim() == (low, high)
            figure.draw_without_rendering()


def test_values_that_are_all_zero_have_an_axis() -> None:
    axes = Figure().subplots()
    signed_scale(axes, 0.0, 0.0)
    assert axes.get_yscale() == "linear"
