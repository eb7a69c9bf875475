"""A small problem of one's own, by names that other processes can import."""

import torch
from torch import Tensor, nn

import orograph as og

CLASSES = 3


def net() -> nn.Module:
    """A small network."""
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES))


def data(count: int = 40) -> dict[str, object]:
    """Points of three classes, and as many to test on."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2 * count, 4, generator=generator)
    labels = points[:, :CLASSES].argmax(1)
    return {"train": (points[:count], labels[:count]), "test": (points[count:], labels[count:])}


def load() -> dict[str, object]:
    """The same, called without arguments."""
    return data()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def confident(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest probability exceeds a half."""
    return outputs.softmax(-1).amax(-1) > 0.5


def problem(**other: object) -> og.Problem:
    """The problem by functions that can be named."""
    parts: dict[str, object] = {
        "model": net,
        "loss": loss,
        "train": load,
        "metrics": ["accuracy", og.Metric("confident", confident)],
    }
    return og.Problem(**{**parts, **other})  # type: ignore[arg-type]


def in_memory(**other: object) -> og.Problem:
    """The same, of objects that nothing can be imported by."""
    return problem(**{"model": lambda: net(), "train": data()["train"], "test": data()["test"], **other})
