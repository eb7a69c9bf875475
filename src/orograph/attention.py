"""Attention of transformers models.

The kernels of their fused attention (`sdpa`, `flash_attention_2`) have no second derivative. The eager one computes the same by
matrix products, which has.
"""

import warnings
from typing import Any

from torch import nn

from orograph.errors import OrographWarning

EAGER = "eager"


def with_eager_attention(model: nn.Module) -> nn.Module:
    """The model itself, its attention computed by matrix products where it is transformers' and can choose; this is said.

    Args:
        model: that may be written into.
    """
    for module in model.modules():
        chosen = getattr(getattr(module, "config", None), "_attn_implementation", EAGER)
        choose: Any = getattr(module, "set_attn_implementation", None)
        if callable(choose) and chosen != EAGER:
            choose(EAGER)
            warnings.warn(
                f"{type(module).__name__} is measured with eager attention in place of {chosen}, whose kernels have no second "
                "derivative: the same function to rounding. attn_implementation='eager' in its configuration says so itself.",
                OrographWarning,
                stacklevel=1,  # one place, so that it is said once
            )
            break
    return model
