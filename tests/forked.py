"""The command in a process of its own that starts as quickly as a fork: from a process that has imported everything."""

import multiprocessing
import multiprocessing.context
import random
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

import drawing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["orograph.cli", "orograph.sweep.command", "orograph.study.command", "torch._dynamo", "orograph.figures"]
)


def start(words: Sequence[str]) -> multiprocessing.context.ForkServerProcess:
    """Begins a command, given without the word `orograph`."""
    process = CONTEXT.Process(target=_command, args=(list(words), drawing.now))
    process.start()
    return process


def finish(words: Sequence[str]) -> None:
    """Runs a command to its end."""
    process = start(words)
    process.join(600)
    assert process.exitcode == 0


def wait_until(holds: Callable[[], object], process: BaseProcess) -> None:
    """Waits for something that happens while a process lives."""
    while not holds():
        assert process.is_alive(), "the process ended before it happened"
        time.sleep(0.05)


def lasting(words: Sequence[str]) -> float:
    """Runs a command to its end; the seconds it took, without those in which everything is imported."""
    first = CONTEXT.Process()
    first.start()
    first.join()
    began = time.monotonic()
    finish(words)
    return time.monotonic() - began


def finish_despite_kills(words: Sequence[str], attempts: int, seconds: float) -> None:
    """Begins a command again and again and kills it at random moments of the seconds that it takes; then runs it to its end.

    The earliest comes first, for the first must find the command at work even where the seconds were taken on a busier machine.
    """
    dice, kills = random.Random(0), 0
    for moment in sorted(dice.uniform(0.05, 0.6) for _ in range(attempts)):
        process = start(words)
        process.join(moment * seconds)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills > 0
    finish(words)


def _command(words: list[str], how: drawing.How) -> None:
    from orograph.cli import main

    drawing.draw(how)  # as in the test's own process
    sys.exit(main(words))
