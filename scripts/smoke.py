"""What an installed Orograph must do, as commands: the README's library block, a sweep and what one does with it, and numbers
beside truths of their own. `release_check.py` runs them in an environment that holds the wheel and what it needs, and
nothing else.
"""

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[1] / "README.md"


class Step(NamedTuple):
    """A command: what stands behind `python`, what its output must hold, and its exit code."""

    name: str
    words: tuple[str, ...]
    says: str = ""
    code: int = 0


def command(line: str, says: str = "", code: int = 0) -> Step:
    """`orograph …`."""
    return Step(line, ("-m", "orograph", *line.split()), says, code)


def library_block() -> str:
    """The Python that README.md shows."""
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]


INSTALLED = """
import sys, orograph
assert orograph.__file__.startswith(sys.prefix), orograph.__file__
print("imported from", sys.prefix)
"""
DENSE = """
import torch, orograph as og
from torch.func import functional_call, hessian
from torch.nn.functional import cross_entropy
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
x, y = torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 2
names, values = zip(*model.named_parameters())
def loss(theta):
    parts = theta.split([value.numel() for value in values])
    shaped = {name: part.view_as(value) for name, part, value in zip(names, parts, values)}
    return cross_entropy(functional_call(model, shaped, (x,)), y)
dense = hessian(loss)(torch.cat([value.detach().flatten() for value in values]))
true = torch.linalg.eigvalsh(dense)
true = true[true.abs().argsort(descending=True)[:5]].sort(descending=True).values  # k of the largest |λ|, largest first
found = og.lanczos(og.HessianOperator(model, cross_entropy, [(x, y)]), k=5).eigenvalues
assert torch.allclose(found, true, rtol=1e-4, atol=1e-6 * true[0]), (found, true)
print("five eigenvalues of a dense Hessian")
"""
RUN = "runs/digits"
FEW = "--probes 3 --images 2 --path-steps 0 --resamples 19 --lowest-products 60 --response-products 60"

STEPS = (
    Step("what is imported", ("-c", INSTALLED), "imported from"),
    command("doctor", "accelerator"),
    Step("README's library block", ("-c", library_block()), "Estimate"),
    Step("a dense Hessian", ("-c", DENSE), "five eigenvalues"),
    command(f"sweep --dataset digits --points 3 --out {RUN}"),
    command(f"sweep --dataset digits --points 3 --out {RUN}"),  # finds all done
    command(f"doctor {RUN}", "is whole"),
    command(f"analyze {RUN} {FEW}"),
    command(f"export {RUN} --to netcdf"),
    command(f"report {RUN}", "orograph[report]", 2),
    command("verify", "numbers are true"),
)
SHORT = STEPS[:4]
