"""Models by name, with an initialisation that is a function of its seed alone."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from orograph.errors import ConfigurationError, unknown
from orograph.models.cnn import CNN
from orograph.models.deep_linear import DeepLinear
from orograph.models.mlp import MLP
from orograph.models.names import MODELS, NAMES
from orograph.models.resnet import ResNet
from orograph.process import seeded_stream


def _study_mlp(depth: int) -> Callable[..., nn.Module]:
    """The perceptrons of width studies: `depth` hidden layers of one width."""

    def build(
        input_shape: Sequence[int], classes: int, *, hidden_size: int = 128, activation: str = "relu", **options: Any
    ) -> MLP:
        return MLP(input_shape, classes, widths=(hidden_size,) * depth, activation=activation, **options)

    return build


def _deep_linear(
    input_shape: Sequence[int], classes: int, *, widths: Sequence[int] = (128,), hidden_size: int | None = None, depth: int = 1
) -> DeepLinear:
    """Of any widths, or of `depth` hidden layers of one, as studies vary it."""
    return DeepLinear(input_shape, classes, widths=widths if hidden_size is None else (hidden_size,) * depth)


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "deep-linear": _deep_linear,
    "MLP1": _study_mlp(1),
    "MLP2": _study_mlp(2),
    "MLP3": _study_mlp(3),
    "CNN": CNN,
    "ResNet": ResNet,
}


def build_model(
    name: str,
    *,
    input_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    init_seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """A named model, freshly initialised by PyTorch's defaults.

    Args:
        name: one of `orograph.models.names.NAMES`, in any case.
        input_shape: `(C, H, W)` of one sample.
        classes: number of outputs.
        init_seed: decides the initialisation alone, leaving torch's global generator as it was; None draws from that generator.
        options: of the model, see `orograph.models.names.MODELS`.

    Returns:
        The module, in train mode, on the CPU.

    Raises:
        ConfigurationError: an unknown name or option (the nearest is named), an option out of range, or no image for what takes
            images.

    Examples:
        >>> import orograph as og
        >>> model = og.build_model("mlp", input_shape=(1, 8, 8), widths=[16], init_seed=0)
        >>> sum(parameter.numel() for parameter in model.parameters())
        1210
    """
    exact = next((known for known in NAMES if known.lower() == name.lower()), None)
    if exact is None:
        raise unknown("model", name, NAMES)
    if exact in ("CNN", "ResNet") and len(input_shape) != 3:
        raise ConfigurationError(f"model {exact} takes images (C, H, W), not samples of shape {tuple(input_shape)}; take an mlp.")
    for option in options:
        if option not in MODELS[exact]:
            raise unknown(f"option of model {exact}", option, MODELS[exact])
    with contextlib.nullcontext() if init_seed is None else seeded_stream(init_seed):
        return _BUILDERS[exact](tuple(input_shape), classes, **options)
