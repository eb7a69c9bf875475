"""The floors of a slice against PyTorch's own count of FLOPs, and the script's two ways to a slice against each other."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_benchmark_floors import counter
from test_benchmark_scripts import run

from evaluations import ForwardFloor, Loop, Orograph, SharedFloor, forward_flops
from orograph.parameters import layout_of
from workload import Workload, module

POINTS = 3


@pytest.fixture(scope="module")
def workload() -> Workload:
    generator = torch.Generator().manual_seed(0)
    theta = layout_of(module((12, 9))).flatten(dict(module((12, 9)).named_parameters()))
    inputs = torch.randn(60, 1, 28, 28, generator=generator)
    return Workload(inputs, torch.randint(0, 10, (60,), generator=generator), (12, 9), theta)


@pytest.mark.parametrize(("group", "length"), [(1, 60), (4, 20)])
def test_the_floor_runs_the_matrix_products_of_all_forward_passes(workload: Workload, group: int, length: int) -> None:
    floor = ForwardFloor(workload, POINTS, group, length)
    with counter() as counted:
        floor.evaluate()
    assert counted.get_total_flops() == POINTS**2 * forward_flops(workload.sizes, workload.count)


def test_sharing_the_first_layer_leaves_three_products_and_their_combinations(workload: Workload) -> None:
    floor = SharedFloor(workload, POINTS, 4, 20)
    with counter() as counted:
        floor.evaluate()
    first, *rest = zip(workload.sizes, workload.sizes[1:], strict=False)
    shared = 3 * first[0] * first[1] + POINTS**2 * 3 * first[1]
    expected = 2 * workload.count * (shared + POINTS**2 * sum(inner * outer for inner, outer in rest))
    assert counted.get_total_flops() == expected


def test_the_loop_and_the_library_give_the_same_slice(workload: Workload) -> None:
    ours, loops = Orograph(workload, POINTS).evaluate(), Loop(workload, POINTS).evaluate()
    np.testing.assert_allclose(ours, loops, rtol=1e-5)  # float32, summed in another order


@pytest.mark.slow
def test_the_script_measures_a_slice(tmp_path: Path) -> None:
    text = run("surface.py", "--points", "3", page=tmp_path / "page.md")
    assert re.search(r"^\| orograph \|", text, re.MULTILINE)
    assert re.search(r"Largest difference from the loop's losses, relative to the largest loss: [0-9.]+e-0[6-9]", text)
