"""The sentence for a model of which there is no right product, with the module, function or parameter that is why."""

import torch

from orograph.calling import differentiable
from orograph.curvature.acceptance import Examination, Tests
from orograph.errors import ConfigurationError
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.structure import tensors_of


def refusal(examination: Examination, reverse: Tests, forward: Tests, where: str = "") -> ConfigurationError:
    """The sentence for what no route multiplies rightly, everywhere or on some of the data."""
    objective = examination.objective
    custom = _custom_function(objective, examination.batch)
    if custom:
        module, function = custom
        culprit = (
            f"'{module}' computes with {function}, a function of its own whose derivatives are not those of what it computes"
        )
    else:
        suspect = reverse.suspect or forward.suspect
        culprit = f"the error is in the derivatives by '{suspect}'" if suspect else "torch cannot differentiate the model twice"
        if "slope" in reverse.failed:
            culprit += " (is something detached, under no_grad, or a rounding with a gradient put in its place?)"
    return ConfigurationError(
        f"no {examination.formula.name} can be had of this model{where}: {culprit} (double backward: {str(reverse)[:110]}; "
        f"forward mode: {str(forward)[:110]}); compute it with operations that can be differentiated twice."
    )


def _custom_function(objective: Objective, batch: Batch) -> tuple[str, str] | None:
    """The innermost module whose output comes from a `torch.autograd.Function`, and that function's name."""
    found: list[tuple[str, str]] = []
    names = {module: f"{name or 'model'} ({type(module).__name__})" for name, module in objective.model.named_modules()}

    def hook(module: torch.nn.Module, arguments: object, output: object) -> None:
        if not found and (function := _custom_node(output)):
            found.append((names[module], function))

    handles = [module.register_forward_hook(hook) for module in names]
    try:
        with differentiable():
            value = objective.summed(objective.theta.detach().requires_grad_(), *batch)
    finally:
        for handle in handles:
            handle.remove()
    function = _custom_node(value)
    return found[0] if found else ("the loss", function) if function else None


def _custom_node(tree: object) -> str:
    left = [leaf.grad_fn for leaf in tensors_of(tree)]
    seen = set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return type(node).__name__.removesuffix("Backward")
        left += [each for each, _ in node.next_functions]
    return ""
