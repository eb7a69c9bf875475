"""Tasks handed to workers until none is left: the one loop under every schedule.

A task whose worker is lost is tried once more; what becomes of one that is lost twice is its own affair.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from orograph.work.pools import WorkerLost, Workers

ATTEMPTS = 2  # of a task whose worker is lost


@dataclass(eq=False)
class Task:
    """One stage with its arguments, and what to do with its result.

    Attributes:
        stage: its name in the table of stages.
        arguments: of the stage.
        done: takes the result and its seconds, in this process.
        lost: called when the worker was lost in every attempt.
        attempts: made so far.
    """

    stage: str
    arguments: tuple[Any, ...]
    done: Callable[[Any, float], None]
    lost: Callable[[], None]
    attempts: int = 0


def work_through(workers: Workers, take: Callable[[], Task | None], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Works until nothing is in flight and nothing is left to take.

    Args:
        workers: who does the tasks.
        take: the next task, None while there is none that can be begun.
        meanwhile: what this process does while workers work, such as writing what is finished.
    """
    flying: dict[Future[tuple[Any, float]], Task] = {}
    again: list[Task] = []
    while True:
        if not flying:
            meanwhile()  # before the next task is computed here
        while len(flying) < workers.slots and (task := again.pop() if again else take()) is not None:
            task.attempts += 1
            flying[workers.submit(task.stage, *task.arguments)] = task
        if not flying:
            return
        meanwhile()
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            task = flying.pop(future)
            try:
                result, seconds = future.result()
            except WorkerLost:
                if task.attempts < ATTEMPTS:
                    again.append(task)
                else:
                    task.lost()
            else:
                task.done(result, seconds)
