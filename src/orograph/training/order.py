"""The order of the mini-batches: a permutation that is a pure function of (order seed, epoch), and how it is cut.

Nothing else enters, neither the model nor what was drawn before, so that a training resumes anywhere with the same batches and
all models with one order seed see the same stream.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from orograph.errors import ConfigurationError


def permutation(order_seed: int, epoch: int, count: int, piece: int | None = None) -> Int[Tensor, " N"]:
    """The order in which an epoch visits `count` samples; int64, on the CPU, the same on every device.

    Seed and epoch are mixed by numpy's `SeedSequence` (O'Neill's seed_seq construction), so that neighbouring seeds and epochs
    give unrelated orders.

    Args:
        order_seed: of the stream.
        epoch: counted from 1.
        count: of the samples.
        piece: number of the piece of the data that these are; None where they are all.

    Raises:
        ConfigurationError: a negative seed.
    """
    if order_seed < 0:
        raise ConfigurationError(f"order seed {order_seed} must not be negative.")
    (state,) = np.random.SeedSequence([order_seed, epoch, *([] if piece is None else [piece])]).generate_state(1, np.uint64)
    return torch.randperm(count, generator=torch.Generator().manual_seed(int(state)))


def mini_batches(
    order: Int[Tensor, "*M N"], length: int, *, several: bool, piece: int | None = None
) -> Sequence[Int[Tensor, "*M B"]]:
    """An order cut into mini-batches.

    Args:
        order: of the samples.
        length: of a mini-batch; the last one is what is left.
        several: whether the module takes statistics of a mini-batch (BatchNorm): a last one of a single sample, which has no
            variance, is then left out.
        piece: number of the piece of the data that these samples are; None where they are all.
    """
    batches = order.split(length, dim=-1)
    return batches[:-1] if several and (len(batches) > 1 or piece) and batches[-1].shape[-1] == 1 else batches
