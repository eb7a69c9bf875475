"""A small transformer (attention, LayerNorm, tied embeddings) on the text of Python's own language reference, character by
character: its spectrum before and after training.

    python examples/transformer.py [FOLDER]

writes `transformer-spectrum.png` into the folder (here when none is given), in about half a minute.
"""

import sys
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph import figures

LENGTH, WIDTH, HEADS, LAYERS = 64, 32, 4, 2


class Block(nn.Module):
    """Causal self-attention and a perceptron, each behind a LayerNorm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, values: Tensor) -> Tensor:
        n, length, _ = values.shape
        query, key, value = (
            part.view(n, length, HEADS, -1).transpose(1, 2) for part in self.attend(self.norm1(values)).chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-2, -1) / key.shape[-1] ** 0.5
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value
        values = values + self.project(mixed.transpose(1, 2).reshape(n, length, WIDTH))
        return values + self.narrow(F.gelu(self.widen(self.norm2(values))))


class Transformer(nn.Module):
    """Characters → logits `(n, characters, length)` of the next one; the output layer is the embedding."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(characters, WIDTH), nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.blocks, self.norm = nn.Sequential(*(Block() for _ in range(LAYERS))), nn.LayerNorm(WIDTH)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        values = self.norm(self.blocks(self.embed(text) + self.place))
        return (values @ self.embed.weight.T).transpose(1, 2)


def next_character(logits: Tensor, text: Tensor) -> Tensor:
    """The mean cross-entropy over the places of each text: one value a sample."""
    return F.cross_entropy(logits, text, reduction="none").mean(1)


def main(folder: Path) -> None:
    """Measure, train, measure again."""
    torch.manual_seed(0)
    text = "\n".join(topics[name] for name in sorted(topics))[:200_000]
    known = {character: index for index, character in enumerate(sorted(set(text)))}
    encoded = torch.tensor([known[character] for character in text])
    pieces = encoded[: len(encoded) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)
    inputs, targets = pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()
    model = Transformer(len(known))
    few = [(inputs[:64], targets[:64])]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(known)} characters, {len(inputs):,} pieces of text")

    seen = {}
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for name, epochs in (("at random weights", 0), ("after training", 3)):
        for _ in range(epochs):
            for batch in torch.randperm(len(inputs)).split(32):
                optimiser.zero_grad()
                next_character(model(inputs[batch]), targets[batch]).mean().backward()
                optimiser.step()
        operator = og.HessianOperator(model, next_character, few)
        seen[name] = og.lanczos(operator, k=20, tolerance=1e-2)
        values = seen[name].eigenvalues
        print(f"{name}: L = {operator.loss:.3f}, λ from {values[0]:.3f} to {values[-1]:.3f}, {operator.method}")

    with figures.styled():
        drawing, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        for (name, spectrum), marker in zip(seen.items(), "os", strict=True):
            axes.plot(range(1, 21), spectrum.eigenvalues, marker + "-", label=name)
        axes.set_yscale("symlog", linthresh=0.01)
        axes.axhline(0, color="#555555", lw=0.8)
        axes.set(title="20 Hessian eigenvalues of a small transformer", xlabel="rank", ylabel="eigenvalue")
        axes.set_xticks([1, 5, 10, 15, 20])
        axes.legend()
    figures.save(drawing, folder / "transformer-spectrum")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
