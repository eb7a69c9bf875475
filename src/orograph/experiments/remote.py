"""What a worker is asked to do. Imported in no time: what it needs is imported with the first task, in the quickest way."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

from orograph.garbage import keep_imports, no_garbage


def perform(context: bytes, stage: str, arguments: bytes) -> bytes:
    """One stage, on the bench of the run: the packed result and its seconds."""
    with no_garbage():
        from orograph.experiments.workers import work
    keep_imports()
    return work(context, stage, arguments)


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
