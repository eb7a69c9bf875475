"""The module inside what compiles, replicates or scripts it."""

import torch
from torch import nn

from orograph.errors import ConfigurationError

_WRAPPERS = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and DistributedDataParallel
PREFIXES = tuple(f"{name}." for name in _WRAPPERS)


def inner(model: nn.Module) -> nn.Module:
    """The module that computes, whether it has values or not."""
    while isinstance(model, torch._dynamo.OptimizedModule | nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model._orig_mod if isinstance(model, torch._dynamo.OptimizedModule) else model.module
    return model


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that computes, which is what names of parameters refer to.

    Raises:
        ConfigurationError: a module that cannot be differentiated twice or has no values yet; says what to pass instead.
    """
    model = inner(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigurationError(
                f"'{name or 'model'}' is a scripted module (torch.jit), which torch cannot call with other parameters and "
                "differentiate twice; pass the Python module that it was made from."
            )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            raise ConfigurationError(
                f"'{name}' belongs to a lazy module and has no shape yet; call the model once on a batch, model(inputs), so that "
                "it is initialised."
            )
        if tensor.is_meta:
            raise ConfigurationError(f"'{name}' is on the meta device and has no values; load the model's weights first.")
    return model
