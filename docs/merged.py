"""Networks whose hidden units are equal in groups, reduced exactly; `docs/transitions.md` follows their branches.

OROGRAPH_DATA=… PYTHONPATH=docs .venv/bin/python docs/merged.py runs/two-layers-adam --strength 0.041 --out runs/last.pth

With λ > 0 the units of a minimum with sigmoids merge: a layer of 128 holds a few different ones, each many times. States in which
the same units are equal are an invariant set of the gradient, so that a critical point in it is one of the whole network (Palais
1979, "The principle of symmetric criticality"). A group of n equal units with weights w is one unit with √n·w: then ‖θ‖², L and
‖∇L_eff‖ keep their values, and only the width is smaller. Each group is divided into one unit and the rest, so that states in
which these differ are there, too: permutations within groups act on θ by representations each of which has a vector that such a
division keeps, and the eigenvalues of H + 2λI are those of the whole network, only fewer times each.
"""

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.parameters import layout_of

Counts = tuple[tuple[int, ...], ...]  # of each hidden layer: how many units each of its own stands for

_EQUAL = 0.05  # of the longest: units nearer than that are of one group; trained ones still differ by a little
_SAME = 1e-6  # likewise, of a critical point


class Merged(nn.Module):
    """A multilayer perceptron with sigmoids, each of whose hidden units stands for several equal ones.

    Args:
        counts: of each hidden layer.
        inputs: size of a sample.
        classes: number of outputs.
    """

    def __init__(self, counts: Counts, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.depth = len(counts)
        layers = [torch.tensor(each, dtype=torch.float64) for each in ((1,) * inputs, *counts, (1,) * classes)]
        for number, (inner, outer) in enumerate(itertools.pairwise(layers), 1):
            self.add_module(f"fc{number}", nn.Linear(len(inner), len(outer)))
            self.register_buffer(f"gain{number}", (inner[None, :] / outer[:, None]).sqrt(), persistent=False)
            self.register_buffer(f"unit{number}", outer.rsqrt(), persistent=False)

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """The scores of a batch."""
        values = inputs.flatten(1)
        for number in range(1, self.depth + 2):
            layer, gain, unit = (
                self.get_submodule(f"fc{number}"),
                *(self.get_buffer(f"{name}{number}") for name in ("gain", "unit")),
            )
            values = F.linear(values, layer.weight * gain.to(values), layer.bias * unit.to(values))
            values = torch.sigmoid(values) if number <= self.depth else values
        return values


def __getattr__(name: str) -> Callable[..., Merged]:
    """`merged:units_1_60_1_66_then_1_64_1_62` names a network on the command line."""
    if not re.fullmatch(r"units(_\d+)+(_then(_\d+)+)*", name):
        raise AttributeError(name)
    counts = tuple(tuple(map(int, re.findall(r"\d+", part))) for part in name.split("_then"))
    return partial(_build, counts)


def _build(counts: Counts, input_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> Merged:
    return Merged(counts, int(np.prod(input_shape)), classes)


def begin(model: nn.Module, penalty: object, start: object, seed: int, report: object) -> None:
    """`--train merged:begin`: no training; the network is at the state of $MERGED_START."""
    model.load_state_dict(torch.load(os.environ["MERGED_START"], weights_only=True))


def name_of(counts: Counts) -> str:
    """By what the command line finds such a network."""
    return "units_" + "_then_".join("_".join(map(str, each)) for each in counts)


def joined(before: Counts, groups: Sequence[np.ndarray]) -> tuple[list[Tensor], Counts]:
    """Orthonormal rows, one a group and layer, that take a state to the one in which the units of a group are as their mean.

    Args:
        before: what each unit stands for.
        groups: of each layer the number of the group of each unit.

    Returns:
        The rows of each layer, `(groups, units)`, and the counts of the smaller network.
    """
    rows, counts = [], []
    for sizes, labels in zip(before, groups, strict=True):
        row = F.one_hot(torch.from_numpy(labels).long()).T.double() * torch.tensor(sizes, dtype=torch.float64).sqrt()
        rows.append(row / row.norm(dim=1, keepdim=True))
        counts.append(tuple(int(each) for each in np.bincount(labels, weights=np.array(sizes))))
    return rows, tuple(counts)


def spread(before: Counts, after: Counts) -> list[Tensor]:
    """The way back, for units in the order of their groups: what takes a state to that of the larger network, exactly."""
    groups = [np.searchsorted(np.cumsum(old), np.cumsum(new)) for old, new in zip(before, after, strict=True)]
    return [row.T for row in joined(after, groups)[0]]


def turned(state: dict[str, Tensor], rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """A state with other units in each hidden layer: each a combination of those before."""
    found = {}
    for number in range(1, len(rows) + 2):
        weight, bias = state[f"fc{number}.weight"].double(), state[f"fc{number}.bias"].double()
        if number > 1:
            weight = weight @ rows[number - 2].T
        if number <= len(rows):
            weight, bias = rows[number - 1] @ weight, rows[number - 1] @ bias
        found |= {f"fc{number}.weight": weight, f"fc{number}.bias": bias}
    return found


def divided(counts: Counts) -> Counts:
    """Of each group one unit, and the rest."""
    return tuple(tuple(part for each in layer for part in ((1, each - 1) if each > 1 else (1,))) for layer in counts)


def whole(counts: Counts) -> Counts:
    """The widths that are stood for, one by one."""
    return tuple((1,) * sum(layer) for layer in counts)


def grouped(state: dict[str, Tensor], counts: Counts, layer: int, within: float) -> np.ndarray:
    """Which units of a layer are equal, by complete linkage of what leads into each; of a critical point also out of it."""
    parts = [state[f"fc{layer}.weight"], state[f"fc{layer}.bias"][:, None]]
    parts += [state[f"fc{layer + 1}.weight"].T] if within == _SAME else []
    units = torch.cat(parts, 1).double() / torch.tensor(counts[layer - 1], dtype=torch.float64)[:, None].sqrt()
    if len(units) == 1:
        return np.zeros(1, dtype=int)
    return fcluster(linkage(units.numpy(), "complete"), within * units.norm(dim=1).max().item(), "distance") - 1


def polished(
    state: dict[str, Tensor], counts: Counts, strength: float, data: og.data.Dataset
) -> tuple[dict[str, Tensor], og.Objective]:
    """The critical point next to a state, in float64."""
    model = Merged(counts, data.train_inputs[0].numel()).double()
    model.load_state_dict(state)
    objective = og.Objective(model, nn.CrossEntropyLoss(), data.train, strength=strength, dtype=torch.float64)
    found = og.polish(objective, objective.theta, hessian=og.HessianOperator.of(objective), tolerance=1e-9, max_products=20_000)
    print(
        f"{name_of(counts)}: ‖∇L_eff‖ {found.gradient_norm_before:.1e} → {found.gradient_norm:.1e}, {found.products} products",
        flush=True,
    )
    return objective.layout.unflatten(found.theta), objective.moved(found.theta)


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="a sweep of an MLP with sigmoids on a subset of MNIST")
    options.add_argument("--strength", type=float, required=True)
    options.add_argument("--whole", action="store_true", help="groups as they are, not each divided into one unit and the rest")
    options.add_argument("--out", type=Path, required=True, help="the state dict of the reduced network")
    chosen = options.parse_args(arguments)
    run = og.open_run(chosen.run)
    settings = json.loads((chosen.run / "run.json").read_text(encoding="utf-8"))["configuration"]
    data = og.load_data(settings["data"]["dataset"], subset_size=settings["data"]["subset_size"])
    widths = settings["model"]["widths"]
    layout = layout_of(og.build_model("mlp", widths=widths))
    theta = torch.from_numpy(run["theta"].sel(strength=chosen.strength, method="nearest").squeeze().values.copy())
    state, counts = layout.unflatten(theta), whole(tuple((width,) for width in widths))
    # the first layer's units are nearly equal where training ends; those of the others have the time to merge when polished
    groups = [grouped(state, counts, 1, _EQUAL), *(np.arange(width) for width in widths[1:])]
    for _ in range(2):
        rows, counts = joined(counts, groups)
        state, objective = polished(turned(state, rows), counts, chosen.strength, data)
        groups = [grouped(state, counts, layer, _SAME) for layer in range(1, len(widths) + 1)]
    if not chosen.whole:
        state, counts = turned(state, spread(counts, divided(counts))), divided(counts)
    torch.save(state, chosen.out)
    q, value = objective.theta.square().sum().item(), objective.value(objective.theta)
    print(f"--model merged:{name_of(counts)} --strength {chosen.strength:g}: q {q:.9g}, L_eff {value:.9g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
