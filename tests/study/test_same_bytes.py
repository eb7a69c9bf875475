"""A study ends with the same bytes whoever computes it and whatever dies on the way; only its timings differ.

The truth is a study of one process that was left alone; deaths are real SIGKILLs.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from small_studies import STUDIES, words

from forked import finish_despite_kills, lasting, start, wait_until
from run_bytes import bytes_of, wait_for_worker

KILLS = 2


@dataclass(frozen=True)
class Whole:
    """A study that was left alone."""

    flags: str
    seconds: float
    bytes: dict[str, str]


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    flags, out = STUDIES[request.param], tmp_path_factory.mktemp("whole") / "run"
    seconds = lasting(words(out, flags))
    return Whole(flags, seconds, bytes_of(out))


@pytest.mark.slow
@pytest.mark.parametrize("whole", ["everything"], indirect=True)
def test_kills_leave_no_trace(tmp_path: Path, whole: Whole) -> None:
    finish_despite_kills(words(tmp_path / "run", whole.flags), KILLS, whole.seconds)
    assert bytes_of(tmp_path / "run") == whole.bytes


@pytest.mark.slow
@pytest.mark.parametrize("whole", STUDIES, indirect=True)
def test_two_workers_write_the_same_bytes_and_one_may_die(tmp_path: Path, whole: Whole) -> None:
    out = tmp_path / "run"
    driver = start(words(out, f"{whole.flags} --parallel processes --jobs 2"))
    wait_until(lambda: [*out.glob("points/*/*.json"), *out.glob("findings/*/*/*.json")], driver)
    wait_for_worker(driver).kill()
    driver.join(900)
    assert driver.exitcode == 0
    assert bytes_of(out) == whole.bytes
