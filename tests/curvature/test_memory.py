"""Peak memory of a product, measured by the operating system in processes of their own, beside what it takes at least."""

import subprocess
import sys

import pytest

_START = """
import torch
from torch import nn
from torch.nn import functional as F
from orograph.curvature.hessian import HessianOperator
torch.manual_seed(0)
torch.set_num_threads(1)

def peak():  # not ru_maxrss: that begins with the peak of the process that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
"""

_WIDE = """
model = nn.Sequential(nn.Linear(784, 1024), nn.Sigmoid(), nn.Linear(1024, 1024), nn.Sigmoid(), nn.Linear(1024, 10))
inputs = torch.randn(8000, 784)
"""

_RESNET = """
class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        first, second = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(o), nn.ReLU(), second, nn.BatchNorm2d(o))
        shortcut = nn.Conv2d(i, o, 1, stride, bias=False)
        self.skip = nn.Identity() if i == o else nn.Sequential(shortcut, nn.BatchNorm2d(o))
    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))
widths = [16, 16, 32, 64]
blocks = [Block(i, o, 1 if i == o else 2) for i, o in zip(widths, widths[1:])]
stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
inputs = torch.randn(384, 3, 32, 32)
"""

_END = """
small = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10)).eval()
small = HessianOperator(small, F.cross_entropy, [(torch.randn(2, 3, 4, 4), torch.arange(2))])
small @ torch.randn(small.size)  # all is imported that products need
before = peak()
operator = HessianOperator(model, F.cross_entropy, [(inputs, torch.randint(0, 10, (len(inputs),)))], memory="16MiB")
assert operator.method == "traced", operator.fallback_reason
product = operator @ torch.randn(operator.size)
assert product.isfinite().all() and product.norm() > 0
print(operator.size, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("model", "parameters", "most"),
    [
        (_WIDE, 1_863_690, 210),  # MiB; it takes 140, of which a vector has 7; and 280 where all residuals are kept
        (_RESNET, 78_042, 280),  # 180, and 430
    ],
    ids=["wide mlp", "resnet"],
)
def test_a_product_with_more_activations_than_the_budget_keeps_to_it(model: str, parameters: int, most: float) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _START + model + _END], capture_output=True, text=True, timeout=1800, check=True
    )
    size, peak = result.stdout.split()
    assert int(size) == parameters
    assert float(peak) < most
