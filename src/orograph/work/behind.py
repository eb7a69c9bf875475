"""What is done while this process goes on: one piece of work at a time, in the order in which it was given.

Formatting and writing millions of numbers leave the interpreter to others, so that the next network trains meanwhile. Whatever
goes wrong there is raised where the next piece is given, or where somebody waits.

Torch computes there with one thread. A second team of OpenMP's, even an idle one, makes more threads than cores: those of the
first then go to sleep at the end of each of their loops where they had spun, and every product and every step of training takes
half as long again (measured on two cores).
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

import torch


class Behind:
    """One thread, whose work is done when this is left, whatever the reason."""

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        self._thread = ThreadPoolExecutor(1, "behind", initializer=partial(torch.set_num_threads, 1))
        self._thread.submit(torch.get_num_threads).result()
        torch.set_num_threads(threads)  # again, for threads that others begin
        self._last: Future[Any] | None = None

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()

    def do(self, work: Callable[[], Any]) -> None:
        """Begins a piece of work, when the one before it is done."""
        self.wait()
        self._last = self._thread.submit(work)

    def wait(self) -> None:
        """Until what was given is done; raises what it met."""
        last, self._last = self._last, None
        if last is not None:
            last.result()
