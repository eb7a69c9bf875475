"""Arguments that cannot be used are refused in one sentence: by every function that takes vectors, counts, seeds or operators.

Calls stand in one fresh process: the checks of shapes that the tests run under would refuse first, in their own words.
"""

import json
import subprocess
import sys

import pytest

CALLS = {
    "og.line(torch.zeros(3), torch.zeros(4))": "`second`",
    "og.bezier(torch.zeros(3), torch.zeros(3), bends=1.5)": "`bends` must be a whole number, not 1.5",
    "og.surface(o, o.theta, torch.eye(1, 10))": "`directions`",
    "og.profile(o, o.theta, torch.ones(9))": "with P = 10",
    "og.profile(o, o.theta[:3], torch.ones(3))": "`theta`",
    "og.HessianOperator('x', loss, data)": "`model`",
    "og.Objective(model, loss, data, strength='x')": "`strength`",
    "og.Objective(model, 'mse_loss', data)": "`loss` must be a function of outputs and targets, not a str",
    "og.HessianOperator(model, torch.nn.CrossEntropyLoss, data)": "not the class CrossEntropyLoss",
    "og.measure(model, None, data)": "`loss`",
    "og.HessianOperator(model, loss, data, strength=float('nan'))": "`strength` nan",
    "og.HessianOperator(model, loss, data, strength=-1.0)": "`strength` -1.0",
    "og.HessianOperator(model, loss, data, strength=0.1, anchor=torch.ones(3))": "`anchor`",
    "A @ None": "None",
    "A @ [1.0, 2.0]": "list",
    "A @ (1j * torch.ones(4))": "complex64",
    "og.HessianOperator.of(o) @ (1j * torch.ones(10))": "complex64",
    "A.shifted(1.0) @ (1j * torch.ones(4))": "complex64",
    "og.FunctionOperator(lambda v: v, size=4) @ (1j * torch.ones(4))": "complex64",
    "og.FunctionOperator(lambda v: None, size=4) @ torch.ones(4)": "must give a tensor (4,), not NoneType",
    "og.FunctionOperator(lambda v: v[:3], size=4) @ torch.ones(4)": "not float32 of shape (3,)",
    "og.FunctionOperator(lambda v: v > 0, size=4) @ torch.ones(4)": "not bool of shape (4,)",
    "og.lanczos(og.FunctionOperator(lambda v: v * v, size=4), 1)": "not linear",
    "og.lanczos(og.FunctionOperator(lambda v: v * torch.rand(()), size=4).shifted(1.0), 1)": "not linear",
    "og.conjugate_gradient(og.FunctionOperator(lambda v: v.cumsum(0), size=4), torch.ones(4))": "not symmetric",
    "og.density(og.FunctionOperator(lambda v: v.cumsum(0), size=4))": "not symmetric",
    "og.MatrixOperator(torch.ones(4, 4).triu())": "‖A − Aᵀ‖ is 1.1·‖A‖",
    "og.MatrixOperator(torch.ones(4, 3))": "`matrix` must be",
    "og.MatrixOperator(torch.ones(4, 4, dtype=torch.int64))": "`matrix` must be",
    "og.lanczos(A, k=True)": "`k` must be a whole number, not True",
    "og.lanczos(A, 1.5)": "`k` must be a whole number, not 1.5",
    "og.lanczos('x', 1)": "`operator`",
    "og.lanczos(A, 1, seed=-2**70)": "`seed`",
    "og.trace(A, seed=2**70)": "`seed`",
    "og.trace(A, probes=2.5)": "`probes`",
    "og.density(A, seed='x')": "`seed`",
    "og.random_orthonormal(torch.zeros(4), seed=-1)": "`seed` -1",
    "og.conjugate_gradient(A, torch.ones(5))": "with P = 4",
    "og.evaluate(o, torch.zeros(2, 9))": "`thetas`",
    "og.barrier(torch.ones(3), torch.tensor([0.0, 1.0, 0.5]))": "must ascend",
    "og.barrier(torch.ones(3), torch.tensor([0.0, 1.0]))": "`positions`",
    "og.barrier(torch.ones(0), torch.ones(0))": "none",
    "og.curve_profile(o, og.line(o.theta, -o.theta), points=1)": "`points` 1",
}
SCRIPT = """
import json, sys, warnings
import torch, orograph as og
warnings.simplefilter("ignore", DeprecationWarning)
model, loss = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss()
data = [(torch.eye(4), torch.arange(4) % 2)]
o, A = og.Objective(model, loss, data), og.MatrixOperator(torch.eye(4))
def said(call):
    try:
        return "nothing refused: " + repr(eval(call))
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
print(json.dumps({call: said(call) for call in json.load(sys.stdin)}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(list(CALLS)), capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_used_is_refused_by_name_in_one_sentence(said: dict[str, str], call: str) -> None:
    assert said[call].startswith("ConfigurationError: ")
    assert CALLS[call] in said[call]
    assert "\n" not in said[call]
    assert said[call].endswith(".")
