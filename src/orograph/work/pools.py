"""Where stages run: in this process, in processes of their own, or on a Dask or Ray cluster.

One adapter, `submit(stage, *arguments) → Future` of the stage's result and its seconds. A worker makes the bench of the run when
first asked and keeps it. A worker that dies makes the futures of its tasks raise `WorkerLost`; whoever submitted them decides
what then.
"""

import contextlib
import multiprocessing
import multiprocessing.context
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import Any, Protocol, runtime_checkable

from orograph.errors import ConfigurationError
from orograph.remarks import passed_on
from orograph.settings.shared import ParallelExecution
from orograph.work import clusters
from orograph.work.worker import Context, Say, begin_process, packed, packed_context, perform, timed


class WorkerLost(Exception):
    """The process that worked on a task is gone."""


@runtime_checkable
class Workers(Protocol):
    """What runs stages. `slots` tasks at a time may be in flight."""

    slots: int

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        """Begin a stage; its result and the seconds it took."""

    def check(self) -> None:
        """Whether whoever hands out the work is still there; asked every few seconds while nothing ends.

        Raises:
            RunError: it no longer answers.
        """

    def close(self) -> None:
        """Stop, at once or in the background; whatever is in flight is given up."""


def start_workers(
    bench: Any, context: type[Context], make: Callable[[], Context], execution: ParallelExecution, say: Say
) -> Workers:
    """The workers that the command asks for.

    Args:
        bench: of this process, for stages that run here.
        context: the kind of value by which workers know what to do.
        make: makes it, with the first task: when the anchor of a sweep is settled.
        execution: where work is done.
        say: told what is going on, by stages that run here.

    Raises:
        ConfigurationError: a package is not installed, or no cluster answers at the address.
    """
    if execution.parallel == "none":
        return Here(bench, context.stages, say)
    prepared = cache(lambda: packed_context(make()))
    jobs = execution.jobs or max(1, (os.cpu_count() or 1) // bench.settings.numerics.threads)
    if execution.parallel == "processes":
        return Processes(prepared, jobs, context.__module__)
    return (Dask if execution.parallel == "dask" else Ray)(prepared, jobs, execution.address)


class Here:
    """This process: a submitted stage is done when `submit` returns."""

    slots = 1

    def __init__(self, bench: Any, stages: Mapping[str, Callable[..., Any]], say: Say) -> None:
        self._bench, self._stages, self._say = bench, stages, say

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        future: Future[tuple[Any, float]] = Future()
        try:
            future.set_result(timed(self._bench, self._stages[stage], arguments, self._say))
        except Exception as error:  # as from any other worker: whoever waits for the result meets it
            future.set_exception(error)
        return future

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


class Processes:
    """Processes on this machine, each an executor of its own, so that a death is blamed on the task that died."""

    def __init__(self, context: Callable[[], bytes], jobs: int, imported: str) -> None:
        self.slots, self._context, self._closed, self._imported = jobs, context, False, imported
        self._executors = [self._start(slot) for slot in range(jobs)]
        self._idle = list(range(jobs))

    def pids(self) -> list[int]:
        """The processes that live now."""
        return [pid for executor in self._executors for pid in executor._processes or ()]

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        slot, work = self._idle.pop(0), partial(perform, self._context(), stage, packed(arguments))
        with _without_main():
            try:
                inner = self._executors[slot].submit(work)
            except BrokenProcessPool:  # it died while it had nothing to do
                self._executors[slot] = self._start(slot)
                inner = self._executors[slot].submit(work)
        return _relayed(inner, BrokenProcessPool, before=partial(self._free, slot))

    def check(self) -> None:
        pass  # a process that dies ends its future

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

    def _start(self, slot: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=_start_method(self._imported), initializer=begin_process, initargs=(slot,))


class Dask:
    """A Dask scheduler's workers: those at an address, or a local cluster of so many processes."""

    def __init__(self, context: Callable[[], bytes], jobs: int, address: str) -> None:
        self._client, self._cluster = clusters.started("dask", jobs, address)
        from distributed.scheduler import KilledWorker

        self._context, self._killed, self._line = context, KilledWorker, clusters.Line("Dask scheduler", address)
        self.slots = sum(self._client.nthreads().values()) if address else jobs
        if not self.slots:
            raise ConfigurationError(f"the Dask scheduler at `address` {address} has no workers yet.")

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        inner = self._client.submit(perform, self._context(), stage, packed(arguments), pure=False)
        return _relayed(inner, self._killed)

    def check(self) -> None:
        self._line.check()

    def close(self) -> None:
        if self._line.dead:
            return  # its client would wait for an answer
        clusters.end(self._client.close)
        if self._cluster:
            clusters.end(self._cluster.close)


class Ray:
    """A Ray cluster: the one at an address, or a local one with so many processors."""

    def __init__(self, context: Callable[[], bytes], jobs: int, address: str) -> None:
        self._ray, self._context = clusters.started("ray", jobs, address), context
        self._line = clusters.Line("Ray cluster", address)
        self._perform = self._ray.remote(num_cpus=1, max_retries=0)(perform)
        self.slots = max(1, int(self._ray.cluster_resources().get("CPU", 1))) if address else jobs

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        inner = self._perform.remote(self._context(), stage, packed(arguments)).future()
        return _relayed(inner, self._ray.exceptions.WorkerCrashedError)

    def check(self) -> None:
        self._line.check()

    def close(self) -> None:
        if not self._line.dead:
            clusters.end(self._ray.shutdown)


def _start_method(imported: str) -> multiprocessing.context.BaseContext:
    """How processes begin: forked from one that has imported everything. Not on a Mac, where libraries do not survive a fork."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imported, "torch._dynamo"])  # the latter with the first trace
    return context


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes that begin within it do not run the script of this one again, as they else would: they need nothing of it."""
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


def _relayed(inner: Any, lost: type[BaseException], before: Callable[[bool], None] | None = None) -> "Future[tuple[Any, float]]":
    """A plain future of the unpacked result, whatever kind of future the worker's is."""
    outer: Future[tuple[Any, float]] = Future()

    def done(finished: Any) -> None:
        content = b""
        try:
            error = finished.exception()
            if error is None:  # also of a task that Dask cancelled: its result tells
                content = finished.result()
        except BaseException as cancelled:  # by a cluster that ended: whoever waits must learn it
            error = WorkerLost(f"the task was cancelled: {cancelled}")
        gone = isinstance(error, (lost, WorkerLost))
        if before:
            before(gone)
        if gone:
            outer.set_exception(WorkerLost(str(error)))
        elif error is not None:
            outer.set_exception(getattr(error, "cause", None) or error)  # Ray wraps what a task raised
        else:
            found, remarks = pickle.loads(content)
            try:
                passed_on(remarks)
            finally:  # also where warnings are errors
                outer.set_result(found)

    inner.add_done_callback(done)
    return outer
