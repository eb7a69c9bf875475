"""What is done with a run, in Python: as the commands do it, and with a problem that is in memory alone."""

import os
from pathlib import Path

import pytest
import torch

import orograph as og
from orograph.errors import OrographError


@pytest.fixture
def problem() -> og.Problem:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 4, generator=generator)
    targets = inputs.sum(1, keepdim=True).tanh()
    return og.Problem(
        lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)),
        torch.nn.MSELoss(),
        train=(inputs, targets),
    )


@pytest.mark.slow
def test_a_problem_in_memory_is_extended_redone_and_joined(problem: og.Problem, tmp_path: Path) -> None:
    small = {"k": 2, "epochs": 2, "threads": 1, "quiet": True}
    first = og.sweep(problem, strengths=[0.01, 0.02], out=tmp_path / "first", **small)
    found = og.extend(first, problem, strengths=[0.03], quiet=True)
    assert found.strength.values.tolist() == [0.01, 0.02, 0.03]
    found = og.extend(found, problem, k=4, quiet=True)
    whole = og.sweep(problem, strengths=[0.01, 0.02, 0.03], out=tmp_path / "whole", **small | {"k": 4})
    assert (found.eigenvalue == whole.eigenvalue).all()
    again = og.redo(found, problem, strengths=[0.02], quiet=True)
    assert (again.theta == whole.theta).all()
    other = og.sweep(problem, strengths=[0.01, 0.02, 0.03], seeds=[1], out=tmp_path / "other", **small | {"k": 4})
    both = og.join([again, other], out=tmp_path / "both", quiet=True)
    assert both.seed.values.tolist() == [0, 1]
    assert (both.status == "done").all()
    with pytest.raises(OrographError, match=r"is seed 1 of .* alone"):
        og.extend(both.sel(seed=1), problem, strengths=[0.04], quiet=True)


@pytest.mark.slow
def test_another_problem_is_refused(problem: og.Problem, tmp_path: Path) -> None:
    found = og.sweep(problem, strengths=[0.01], k=2, epochs=2, out=tmp_path / "run", quiet=True)
    wider = og.Problem(torch.nn.Linear(4, 1), torch.nn.MSELoss(), train=problem.train)
    with pytest.raises(OrographError, match="another network"):
        og.extend(found, wider, strengths=[0.02], quiet=True)
    data = og.Problem(problem.model, torch.nn.MSELoss(), train=(torch.randn(30, 4), torch.randn(30, 1)))
    for more in ({"strengths": [0.02]}, {"k": 3}):
        with pytest.raises(OrographError, match="data"):
            og.extend(found, data, quiet=True, **more)  # type: ignore[arg-type]
    assert og.open_run(tmp_path / "run").sizes["strength"] == 1
    assert "extension" not in os.listdir(tmp_path / "run")
