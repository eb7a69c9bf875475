"""Tasks handed to workers until none is left: the one loop under every schedule.

A task whose worker is lost is tried once more. One that is lost twice, or that meets trouble which may have passed when it is
tried again (no memory, a full disk, a file that cannot be read), is left undone: the others go on, and in the end it is told.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from orograph.errors import OrographError
from orograph.process import out_of_memory
from orograph.work.pools import WorkerLost, Workers

PULSE = 5.0  # seconds without a result after which workers are asked whether they are there
ATTEMPTS = 2  # of a task whose worker is lost
TROUBLES = (OrographError, MemoryError, OSError, RuntimeError)  # what the next attempt may not meet; RuntimeError is torch's


@dataclass(eq=False)
class Task:
    """One stage with its arguments, and what to do with its result.

    Attributes:
        stage: its name in the table of stages.
        arguments: of the stage.
        done: takes the result and its seconds, in this process.
        title: what it is, for a reader.
        attempts: made so far.
    """

    stage: str
    arguments: tuple[Any, ...]
    done: Callable[[Any, float], None]
    title: str
    attempts: int = 0


def work_through(
    workers: Workers,
    take: Callable[[], Task | None],
    meanwhile: Callable[[], None] = lambda: None,
    undone: Callable[[], None] = lambda: None,
) -> None:
    """Works until nothing is in flight and nothing is left to take.

    Args:
        workers: who does the tasks.
        take: the next task, None while there is none that can be begun.
        meanwhile: what this process does while workers work, such as writing what is finished.
        undone: told that a task was left undone.

    Raises:
        RunError: whoever hands out the work is gone.
        OrographError: tasks were left undone; why the first was.
    """
    troubles: list[tuple[str, BaseException]] = []
    flying: dict[Future[tuple[Any, float]], Task] = {}
    again: list[Task] = []
    while True:
        if not flying:
            meanwhile()  # before the next task is computed here
        while len(flying) < workers.slots and (task := again.pop() if again else take()) is not None:
            task.attempts += 1
            flying[workers.submit(task.stage, *task.arguments)] = task
        if not flying:
            break
        meanwhile()
        done = wait(flying, timeout=PULSE, return_when=FIRST_COMPLETED).done
        if not done:
            workers.check()
        for future in done:
            task = flying.pop(future)
            try:
                result, seconds = future.result()
            except WorkerLost as error:
                if task.attempts < ATTEMPTS:
                    again.append(task)
                    continue
                troubles.append((f"{task.title}: its worker was lost twice", error))
                undone()
            except TROUBLES as error:
                troubles.append((f"{task.title}: {in_words(error)}", error))
                undone()
            else:
                task.done(result, seconds)
    if troubles:
        why, first = troubles[0]
        others = f" (of {len(troubles)} alike)" if len(troubles) > 1 else ""
        raise OrographError(f"{why}{others}; nothing of this is recorded, and the same command tries it again.") from first


def in_words(error: BaseException) -> str:
    """The first line of an error, without its full stop."""
    if isinstance(error, MemoryError) or out_of_memory(error):  # torch tells of its allocator
        return "there is not enough memory (end other programs, or give fewer `jobs`)"
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
