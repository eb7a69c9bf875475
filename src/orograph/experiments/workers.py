"""Where the stages of a sweep or a study run: in this process, in processes of their own, or on a Dask or Ray cluster.

One adapter, `submit(stage, *arguments) → Future` of the stage's result and its seconds. A worker makes the bench of
the run from its settings when first asked and keeps it; results travel as pickles in which tensors are NumPy arrays,
so that no memory is shared with a worker that may die. A worker that dies makes the futures of its tasks raise
`WorkerLost`; whoever submitted them decides what then.
"""

import contextlib
import io
import multiprocessing
import multiprocessing.context
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from orograph.errors import ConfigurationError
from orograph.experiments import clusters
from orograph.experiments.bench import Bench
from orograph.experiments.remote import begin_process, perform
from orograph.experiments.settings import Execution, ParallelExecution, SweepSettings
from orograph.experiments.stages import STAGES, Say
from orograph.experiments.study.bench import StudyBench
from orograph.experiments.study.settings import StudySettings
from orograph.experiments.study.stages import STUDY_STAGES

ATTEMPTS = 2  # of a task whose worker is lost


class WorkerLost(Exception):
    """The process that worked on a task is gone."""


@runtime_checkable
class Workers(Protocol):
    """What runs stages. `slots` tasks at a time may be in flight."""

    slots: int

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        """Begin a stage; its result and the seconds it took."""

    def close(self) -> None:
        """Stop, at once or in the background; whatever is in flight is given up."""


@dataclass(frozen=True)
class Context:
    """All a worker needs to make the bench: settings as JSON, where data lie, the settled anchor of a sweep as bytes."""

    kind: str
    settings: str
    data_dir: str
    anchor: bytes

    @classmethod
    def of(cls, bench: Bench | StudyBench, execution: ParallelExecution) -> "Context":
        settings, data_dir = bench.settings.model_dump_json(), execution.data_dir
        if isinstance(bench, StudyBench):
            return cls("study", settings, data_dir, b"")
        return cls("sweep", settings, data_dir, packed(bench.anchor))

    def bench(self) -> Bench | StudyBench:
        """Made anew."""
        execution = Execution(data_dir=self.data_dir)
        if self.kind == "study":
            return StudyBench.prepare(StudySettings.model_validate_json(self.settings), execution)
        bench = Bench.prepare(SweepSettings.model_validate_json(self.settings), execution)
        bench.use_anchor(pickle.loads(self.anchor))
        return bench


def start_workers(bench: Bench | StudyBench, execution: ParallelExecution, say: Say) -> Workers:
    """The workers that the command asks for.

    Raises:
        ConfigurationError: a package is not installed, or no cluster answers at the address.
    """
    if execution.parallel == "none":
        return Here(bench, say)
    context = cache(lambda: packed(Context.of(bench, execution)))  # made with the first task, when the anchor is settled
    jobs = execution.jobs or max(1, (os.cpu_count() or 1) // bench.settings.numerics.threads)
    if execution.parallel == "processes":
        return Processes(context, jobs)
    return (Dask if execution.parallel == "dask" else Ray)(context, jobs, execution.address)


class Here:
    """This process: a submitted stage is done when `submit` returns."""

    slots = 1

    def __init__(self, bench: Bench | StudyBench, say: Say) -> None:
        self._bench, self._say = bench, say

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        future: Future[tuple[Any, float]] = Future()
        future.set_result(_timed(self._bench, stage, arguments, self._say))
        return future

    def close(self) -> None:
        pass


class Processes:
    """Processes on this machine, each an executor of its own, so that a death is blamed on the task that died."""

    def __init__(self, context: Callable[[], bytes], jobs: int) -> None:
        self.slots, self._context, self._closed = jobs, context, False
        self._executors = [self._start(slot) for slot in range(jobs)]
        self._idle = list(range(jobs))

    def pids(self) -> list[int]:
        """The processes that live now."""
        return [pid for executor in self._executors for pid in executor._processes or ()]

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        slot, work = self._idle.pop(0), partial(perform, self._context(), stage, packed(arguments))
        try:
            inner = self._executors[slot].submit(work)
        except BrokenProcessPool:  # it died while it had nothing to do
            self._executors[slot] = self._start(slot)
            inner = self._executors[slot].submit(work)
        return _relayed(inner, BrokenProcessPool, before=partial(self._free, slot))

    def close(self) -> None:
        self._closed = True
        pids = self.pids()
        for executor in self._executors:
            executor.shutdown(wait=False, cancel_futures=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _free(self, slot: int, lost: bool) -> None:
        if lost and not self._closed:
            self._executors[slot] = self._start(slot)
        self._idle.append(slot)

    @staticmethod
    def _start(slot: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=_start_method(), initializer=begin_process, initargs=(slot,))


class Dask:
    """A Dask scheduler's workers: those at an address, or a local cluster of so many processes."""

    def __init__(self, context: Callable[[], bytes], jobs: int, address: str) -> None:
        self._client, self._cluster = clusters.started("dask", jobs, address)
        from distributed.scheduler import KilledWorker

        self._context, self._killed = context, KilledWorker
        self.slots = sum(self._client.nthreads().values()) if address else jobs
        if not self.slots:
            raise ConfigurationError(f"the Dask scheduler at --address {address} has no workers yet.")

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        inner = self._client.submit(perform, self._context(), stage, packed(arguments), pure=False)
        return _relayed(inner, self._killed)

    def close(self) -> None:
        clusters.end(self._client.close)
        if self._cluster:
            clusters.end(self._cluster.close)


class Ray:
    """A Ray cluster: the one at an address, or a local one with so many processors."""

    def __init__(self, context: Callable[[], bytes], jobs: int, address: str) -> None:
        self._ray, self._context = clusters.started("ray", jobs, address), context
        self._perform = self._ray.remote(num_cpus=1, max_retries=0)(perform)
        self.slots = max(1, int(self._ray.cluster_resources().get("CPU", 1))) if address else jobs

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        inner = self._perform.remote(self._context(), stage, packed(arguments)).future()
        return _relayed(inner, self._ray.exceptions.WorkerCrashedError)

    def close(self) -> None:
        clusters.end(self._ray.shutdown)


def _start_method() -> multiprocessing.context.BaseContext:
    """How processes begin: forked from one that has imported everything. Not on a Mac, where libraries do not survive a fork."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orograph.experiments.workers", "torch._dynamo"])  # the latter with the first trace
    return context


def work(context: bytes, stage: str, arguments: bytes) -> bytes:
    """In a worker: one stage, on the bench of the run; the packed result and its seconds."""
    return packed(_timed(_bench(context), stage, pickle.loads(arguments), lambda text: None))


def _timed(bench: Bench | StudyBench, stage: str, arguments: tuple[Any, ...], say: Say) -> tuple[Any, float]:
    began = time.perf_counter()
    stages = STUDY_STAGES if isinstance(bench, StudyBench) else STAGES
    result = stages[stage](bench, *arguments, say=say)
    return result, time.perf_counter() - began


_BENCHES: dict[bytes, Bench | StudyBench] = {}  # of this worker; one run at a time


def _bench(context: bytes) -> Bench | StudyBench:
    if context not in _BENCHES:
        _BENCHES.clear()
        _BENCHES[context] = pickle.loads(context).bench()
    bench = _BENCHES[context]
    torch.set_num_threads(bench.settings.numerics.threads)
    return bench


def _relayed(inner: Any, lost: type[BaseException], before: Callable[[bool], None] | None = None) -> "Future[tuple[Any, float]]":
    """A plain future of the unpacked result, whatever kind of future the worker's is."""
    outer: Future[tuple[Any, float]] = Future()

    def done(finished: Any) -> None:
        error = finished.exception()
        if before:
            before(isinstance(error, lost))
        if isinstance(error, lost):
            outer.set_exception(WorkerLost(str(error)))
        elif error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(pickle.loads(finished.result()))

    inner.add_done_callback(done)
    return outer


class _Pickler(pickle.Pickler):
    """Tensors travel as arrays: on the host, and without torch's shared memory."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.detach().cpu().numpy(),)
        return NotImplemented


def packed(value: Any) -> bytes:
    """A pickle without shared memory."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()
