"""Small problems as a person writes them, named to the program as `own_parts.py:name`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.data.catalogue import load_data
from orograph.data.dataset import Dataset
from orograph.models.catalogue import build_model

Pair = tuple[Tensor, Tensor]


def both(of: Callable[[int, int], Pair]) -> tuple[Pair, Pair]:
    return of(30, 0), of(20, 1)


def random(n: int, seed: int) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def regressor() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))


def curves() -> tuple[Pair, Pair]:
    def of(n: int, seed: int) -> Pair:
        x = random(n, seed)
        return x, torch.stack([x.sum(1).sin(), x[:, 0] * x[:, 1], x[:, 2]], 1)

    return both(of)


def curves_alone() -> dict[str, Any]:
    return {"train": curves()[0]}


def sign(inputs: Tensor, targets: Tensor) -> list[str]:
    return ["left" if each < 0 else "right" for each in inputs[:, 0].tolist()]


def labels() -> tuple[Pair, Pair]:
    def of(n: int, seed: int) -> Pair:
        x = random(n, seed)
        return x, torch.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0.5, x[:, 3] < 0], 1).float()

    return both(of)


class Language(nn.Module):
    """Scores `(n, V, T)` of the tokens `(n, T)`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.tanh(self.embed(tokens).cumsum(1)))
        return scores.movedim(2, 1)


def tokens() -> tuple[Pair, Pair]:
    def of(n: int, seed: int) -> Pair:
        generator = torch.Generator().manual_seed(seed)
        text = torch.randint(0, 5, (n, 6), generator=generator)
        targets, lengths = text[:, 1:].clone(), torch.randint(2, 6, (n,), generator=generator)
        targets[torch.arange(5) >= lengths[:, None]] = -100
        return text[:, :-1].contiguous(), targets

    return both(of)


def token_mean(outputs: Tensor, targets: Tensor) -> Tensor:
    """A mean alone: no sample has a loss of its own."""
    return F.cross_entropy(outputs.movedim(1, 2).flatten(0, 1), targets.flatten(), ignore_index=-100)


def length(inputs: Tensor, targets: Tensor) -> list[str]:
    return ["short" if each < 4 else "long" for each in (targets != -100).sum(1).tolist()]


def classifier(classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, classes))


def blobs() -> tuple[Pair, Pair]:
    def of(n: int, seed: int) -> Pair:
        targets = torch.arange(n) % 3
        return random(n, seed) + 2 * F.one_hot(targets, 4), targets

    return both(of)


def worst_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().amax(1)


def mlp(init_seed: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    options: dict[str, Any] = {"input_shape": input_shape, "classes": classes, "init_seed": init_seed}
    return build_model("mlp", widths=(4,), activation="sigmoid", **options)


def digits() -> Dataset:
    return load_data("digits", subset_size=100, subset_seed=0)
