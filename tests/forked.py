"""The command in a process of its own that starts as quickly as a fork: from a process that has imported everything."""

import multiprocessing
import multiprocessing.context
import sys
import time
from collections.abc import Sequence

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["orograph.cli", "orograph.experiments.sweep", "orograph.experiments.study.run", "torch._dynamo", "orograph.figures"]
)


def start(words: Sequence[str]) -> multiprocessing.context.ForkServerProcess:
    """Begins a command, given without the word `orograph`."""
    process = _CONTEXT.Process(target=_command, args=(list(words),))
    process.start()
    return process


def finish(words: Sequence[str]) -> None:
    """Runs a command to its end."""
    process = start(words)
    process.join(600)
    assert process.exitcode == 0


def lasting(words: Sequence[str]) -> float:
    """Runs a command to its end; the seconds it took, without those in which everything is imported."""
    first = _CONTEXT.Process()
    first.start()
    first.join()
    began = time.monotonic()
    finish(words)
    return time.monotonic() - began


def _command(words: list[str]) -> None:
    from orograph.cli import main

    sys.exit(main(words))
