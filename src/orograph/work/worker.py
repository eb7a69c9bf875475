"""What a worker is asked to do. Imported in no time: what it needs is imported with the first task, in the quickest way.

What there is to do reaches a worker as a value, its `Context`: how to make the bench of the run, and the table of stages.
Results travel as pickles in which tensors are NumPy arrays, so that no memory is shared with a worker that may die.
"""

import io
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from orograph.process import keep_imports, no_garbage
from orograph.remarks import aside, gathered

Say = Callable[[str], None]


class Context(Protocol):
    """All that a worker needs of a run, as a value that can be pickled."""

    stages: ClassVar[Mapping[str, Callable[..., Any]]]  # each called as `stage(bench, *arguments, say=say)`

    @property
    def threads(self) -> int:
        """Of one process."""

    def bench(self) -> Any:
        """What the stages work with, made anew."""


def perform(context: bytes, stage: str, arguments: bytes) -> bytes:
    """In a worker: one stage, on the bench of the run; the packed result and its seconds, and what was warned of."""
    with no_garbage(), aside():
        import torch

        kind = _context(context)
    keep_imports()
    torch.set_num_threads(kind.threads)
    with gathered() as remarks, aside():  # standard output is the driver's
        done = timed(_bench(context), kind.stages[stage], pickle.loads(arguments), lambda text: None)
    return packed((done, remarks))


def timed(bench: Any, stage: Callable[..., Any], arguments: tuple[Any, ...], say: Say) -> tuple[Any, float]:
    """The result of a stage and its seconds."""
    began = time.perf_counter()
    result = stage(bench, *arguments, say=say)
    return result, time.perf_counter() - began


_KNOWN: dict[bytes, Context] = {}  # of this worker; one run at a time
_BENCHES: dict[bytes, Any] = {}


def _context(context: bytes) -> Context:
    if context not in _KNOWN:
        _KNOWN.clear()
        _BENCHES.clear()
        path, _KNOWN[context] = pickle.loads(context)
        sys.path.extend(each for each in path if each not in sys.path)
    return _KNOWN[context]


def _bench(context: bytes) -> Any:
    if context not in _BENCHES:
        _BENCHES[context] = _KNOWN[context].bench()
    return _BENCHES[context]


def packed_context(context: Context) -> bytes:
    """A context on its way to workers, who find modules where this process does: not every cluster hands that on."""
    return packed(([os.path.abspath(each) for each in sys.path], context))


def packed(value: Any) -> bytes:
    """A pickle without shared memory: tensors travel as arrays, on the host."""
    import torch

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return torch.from_numpy, (value.detach().cpu().numpy(),)
            return NotImplemented

    buffer = io.BytesIO()
    Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()


def begin_process(slot: int) -> None:
    """A process that is a worker leaves Ctrl-C to its driver, dies with it, and has a GPU of its own where there are any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = multiprocessing.parent_process()
    assert driver is not None

    def follow() -> None:
        multiprocessing.connection.wait([driver.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    with no_garbage():
        import torch
    if torch.cuda.device_count() > 1:  # does not initialise CUDA
        os.environ["CUDA_VISIBLE_DEVICES"] = str(slot % torch.cuda.device_count())
