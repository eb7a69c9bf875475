"""The learning rate as a pure function of the step, so that a training that is taken up anywhere goes on as it would have.

lr is the rate chosen, lr_min its end. *cosine* (Loshchilov & Hutter, 2017, one period) falls from lr towards lr_min; *step*
divides by ten at half and at three quarters of the steps (He et al., 2016), never below lr_min; *onecycle* (Smith & Topin, 2018,
with cosines) rises from lr/25 to lr over the first 30 % and falls to lr_min; *warmup-cosine* (Goyal et al., 2017) rises in a
line over the first 5 %, at lr/w first where these are w steps, then follows the cosine.
"""

import math

from orograph.training.settings import FitSettings

RISE = 0.3  # share of a cycle that rises
DIVISOR = 25.0  # between the largest and the first rate of a cycle
WARMUP = 0.05  # share of the steps of a warm-up


def rate(settings: FitSettings, step: int, total: int) -> float:
    """The learning rate of a step, counted from 0, of `total`.

    Args:
        settings: the course, its two ends, and the epochs.
        step: from 0.
        total: steps of the whole training.

    Returns:
        The rate.
    """
    lr, least = settings.lr, settings.min_lr
    if settings.scheduler == "none":
        return lr
    if settings.scheduler == "step":
        return max(lr / 10 ** ((2 * step >= total) + (4 * step >= 3 * total)), least)
    if settings.scheduler == "cosine":
        return _eased(lr, least, step / total)
    if settings.scheduler == "warmup-cosine":
        warm = warmup_steps(total)
        return lr * (step + 1) / warm if step < warm else _eased(lr, least, (step - warm) / (total - warm))
    peak, last = RISE * total - 1, total - 1
    if step <= peak and peak > 0:
        return _eased(lr / DIVISOR, lr, step / peak)
    return _eased(lr, least, (step - peak) / (last - peak))


def warmup_steps(total: int) -> int:
    """How long a warm-up lasts."""
    return max(1, round(WARMUP * total))


def _eased(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
