"""What is written while the next point is computed."""

import threading

import pytest
import torch

from orograph.errors import RunError
from orograph.work.behind import Behind


def test_work_is_done_one_piece_after_the_other_and_before_the_end() -> None:
    done: list[int] = []
    with Behind() as behind:
        for number in range(5):
            behind.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == [0, 1, 2, 3, 4]


def test_the_process_goes_on_meanwhile() -> None:
    told = threading.Event()
    with Behind() as behind:
        behind.do(told.wait)  # would never end if it were waited for
        told.set()


def test_what_goes_wrong_is_met_by_the_next_piece_and_at_the_end() -> None:
    def refuse() -> None:
        raise RunError("the disk is full.")

    def twice(done: list[int]) -> None:
        with Behind() as behind:
            behind.do(refuse)
            behind.do(lambda: done.append(1))

    done: list[int] = []
    with pytest.raises(RunError, match="full"):
        twice(done)
    assert not done
    with pytest.raises(RunError, match="full"), Behind() as behind:
        behind.do(refuse)


def test_an_interruption_waits_for_what_is_being_written() -> None:
    done: list[int] = []
    let = threading.Event()

    def write() -> None:
        let.wait(10)
        done.append(1)

    def interrupted() -> None:
        with Behind() as behind:
            behind.do(write)
            threading.Timer(0.05, let.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == [1]


def test_torch_computes_there_with_one_thread_and_elsewhere_with_as_many_as_before() -> None:
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        with Behind() as behind:
            behind.do(lambda: found.append(torch.get_num_threads()))
            behind.wait()
            found.append(torch.get_num_threads())
            newer = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            newer.start()
            newer.join()
    finally:
        torch.set_num_threads(before)
    assert found == [1, 3, 3]
