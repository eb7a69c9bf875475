"""What a sweep will cost, before it is begun: a few real steps and products, timed and multiplied."""

import time
from dataclasses import dataclass

import torch

from orograph.curvature.hessian import HessianOperator
from orograph.experiments.settings import SweepSettings
from orograph.objective import Objective
from orograph.training.loop import train

STEPS = 40
PRODUCTS = 2


@dataclass(frozen=True)
class Cost:
    """Seconds of one epoch and of one Hessian product, and what they add up to."""

    epoch: float
    product: float
    points: int
    epochs: int
    products: int

    @property
    def seconds(self) -> float:
        """At most: every point uses all its epochs."""
        return self.points * (self.epochs * self.epoch + self.products * self.product)


def expected_products(settings: SweepSettings) -> int:
    """Products of one spectrum: Lanczos needs about 95 for 30 pairs of an MNIST network, and 13 check them."""
    return 3 * settings.spectrum.k + 20 if settings.spectrum.k else 0


def time_cost(settings: SweepSettings, objective: Objective, hessian: HessianOperator, points: int) -> Cost:
    """Times `STEPS` training steps and `PRODUCTS` products on the real data."""
    batch = settings.training.batch_size
    inputs, targets = next(iter(objective.batches(min(objective.count, STEPS * batch))))
    few = Objective(objective.model, objective.output_losses, [(inputs, targets)], dtype=objective.dtype)
    one = settings.training.model_copy(update={"epochs": 1, "published": True})
    train(few, few.theta, one, order_seed=0)  # traces, warms up
    began = time.perf_counter()
    train(few, few.theta, one, order_seed=0)
    epoch = (time.perf_counter() - began) * objective.count / few.count
    vector = torch.randn_like(objective.theta)
    hessian.at(objective.theta) @ vector
    began = time.perf_counter()
    for _ in range(PRODUCTS):
        hessian @ vector
    product = (time.perf_counter() - began) / PRODUCTS
    return Cost(epoch, product, points, settings.training.epochs, expected_products(settings))
