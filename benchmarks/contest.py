"""Competitors, each in a process of its own, taking turns.

One process a competitor keeps them from one another's memory, caches and threads: peak memory is that of the competitor alone,
above what torch, the data and the model take in every process. They run one at a time and in turns, in another order each
round, so that a machine that slows down or speeds up does so for all; what waits, sleeps on a pipe.
"""

import gc
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from floors import synchronise
from judge import Measured
from quiet import Watch
from workload import Workload

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ["scipy.sparse.linalg", "orograph.training.loop", "orograph.spectral.eigenpairs"]  # and torch

_PAUSE = 0.25  # seconds after a turn, in which the last one's threads stop spinning


@dataclass(frozen=True)
class Entry:
    """A competitor: its name, what builds it in its own process from the workload, and the options of that."""

    name: str
    build: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One timed call: its seconds, what it returned, and the peak memory during it in bytes, above that of an empty process."""

    seconds: float
    result: Any
    memory: int


@dataclass
class Timing:
    """All turns of one competitor at one task; `failure` says why there are none."""

    turns: list[Turn] = field(default_factory=list)
    failure: str = ""

    @property
    def best(self) -> float:
        return min((turn.seconds for turn in self.turns), default=float("nan"))

    @property
    def median(self) -> float:
        return statistics.median(turn.seconds for turn in self.turns) if self.turns else float("nan")

    @property
    def memory(self) -> int:
        return max((turn.memory for turn in self.turns), default=0)

    @property
    def result(self) -> Any:
        """What the last turn returned."""
        return self.turns[-1].result if self.turns else None


class CompetitorFailed(Exception):
    """A competitor raised, or died."""


class Contest:
    """The processes of some competitors, and their timed turns.

    Args:
        workload: given to every competitor, or a function of a module that makes it in each process, of the device's name.
        threads: of every process; None leaves the choice to the libraries.
        device: where they compute.
        watch: told of the processes that belong to the benchmark.
    """

    def __init__(self, workload: Workload | Callable[[str], Measured], *, threads: int | None, device: str, watch: Watch) -> None:
        self.watch, self._threads, self._device = watch, threads, device
        self._folder = Path(tempfile.mkdtemp(prefix="orograph-benchmark-"))
        if isinstance(workload, Workload):
            workload.save(self._folder)
            workload = partial(Workload.load, self._folder)
        self._make = workload
        # What torch imports when it traces for the first time are 36 MB that are nobody's; a GPU's memory knows nothing of them.
        _CONTEXT.set_forkserver_preload([*_PRELOADED, "torch._dynamo"] if device == "cpu" else _PRELOADED)
        self._workers: dict[str, _Worker] = {}
        self.failures: dict[str, str] = {}

    def __enter__(self) -> "Contest":
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._workers):
            self.leave(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def enter(self, entries: Iterable[Entry]) -> None:
        """Starts the competitors, one after the other; one that cannot be built is out, and `failures` says why."""
        for entry in entries:
            worker = _Worker(entry, self._make, self._threads, self._device)
            self.watch.own.add(worker.pid)
            self._workers[entry.name] = worker
            try:
                worker.receive()
            except CompetitorFailed as error:
                self.failures[entry.name] = str(error)
                self.leave(entry.name)

    def leave(self, name: str) -> None:
        """Ends one competitor's process, whose memory is then free for the others."""
        if name in self._workers:
            self._workers.pop(name).close()

    def call(self, name: str, method: str, *arguments: Any) -> Turn:
        """One turn of one competitor.

        Raises:
            CompetitorFailed: it raised, or its process died.
        """
        if name not in self._workers:
            raise CompetitorFailed(self.failures.get(name, "is not taking part"))
        return self._workers[name].call(method, arguments)

    def rounds(
        self, names: Sequence[str], method: str, *arguments: Any, count: int, once: Iterable[str] = (), warm: bool = False
    ) -> dict[str, Timing]:
        """Turns of several competitors, interleaved.

        Args:
            names: who takes part.
            method: what is called.
            arguments: of the method.
            count: how many rounds.
            once: who takes part in the first round only.
            warm: give everyone an untimed turn first.
        """
        timings = {name: Timing() for name in names}
        once = set(once)
        self.watch.skip()
        for number in range(-1 if warm else 0, count):
            turn = max(number, 0) % max(len(names), 1)
            for name in [*names[turn:], *names[:turn]]:
                if timings[name].failure or (number > 0 and name in once):
                    continue
                try:
                    taken = self.call(name, method, *arguments)
                except CompetitorFailed as error:
                    timings[name].failure = str(error)
                    continue
                self.watch.look()
                if number >= 0:
                    timings[name].turns.append(taken)
                time.sleep(_PAUSE)
        return timings


class _Worker:
    """The parent's end of a competitor's process."""

    def __init__(self, entry: Entry, make: Callable[[str], Measured], threads: int | None, device: str) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, entry, make, threads, device), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0

    def receive(self) -> Turn:
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join(5)
            raise CompetitorFailed(f"its process died (exit code {self._process.exitcode}; killed for memory?)") from error
        if isinstance(answer, str):
            raise CompetitorFailed(answer)
        return answer

    def call(self, method: str, arguments: Sequence[Any]) -> Turn:
        try:
            self._pipe.send((method, arguments))
        except (BrokenPipeError, OSError) as error:
            raise CompetitorFailed("its process has died") from error
        return self.receive()

    def close(self) -> None:
        self._pipe.close()  # the other end reads the end of its input
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(pipe: Connection, entry: Entry, make: Callable[[str], Measured], threads: int | None, device: str) -> None:
    """A competitor's process: build it, then answer one call after the other until the pipe closes."""
    if threads:
        torch.set_num_threads(threads)
    workload = make(device)
    _wake(workload)
    memory = Memory(device)
    try:
        competitor = entry.build(workload, **entry.options)
    except ImportError as error:
        pipe.send(f"not installed: {error}")
        return
    except Exception:
        pipe.send(_last_lines())
        return
    pipe.send(Turn(0.0, None, memory.peak()))
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            gc.collect()
            memory.restart()
            synchronise(device)
            began = time.perf_counter()
            result = getattr(competitor, method)(*arguments)
            synchronise(device)
            pipe.send(Turn(time.perf_counter() - began, result, memory.peak()))
        except Exception:
            pipe.send(_last_lines())


def _last_lines() -> str:
    return " ".join(traceback.format_exc(limit=-1).split())[-400:]


def _wake(workload: Measured) -> None:
    """Makes torch load what every competitor needs: thread pool, GEMM kernels, autograd."""
    model = workload.model()
    torch.autograd.grad(model(workload.inputs[:64]).square().sum(), list(model.parameters()))


class Memory:
    """Peak memory of this process above what it holds when this is made: resident on the host, allocated on a GPU."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        gc.collect()
        self._base = 0
        self.restart()
        self._base = self._resident()

    def restart(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        except OSError:
            return  # the mark then stays at its highest so far, which is an upper bound

    def peak(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._base
        return peak_resident() - self._base

    def _resident(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return _status("VmRSS") or _maximum()


def peak_resident() -> int:
    """The largest resident size of this process, in bytes; not that of the process that started it, as `ru_maxrss` may be."""
    return _status("VmHWM") or _maximum()


def _status(key: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _maximum() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
