"""One cohort of chains: their first passages, and where descent without noise leads from some of the crossings."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from orograph.escapes.bench import EscapeBench
from orograph.escapes.chains import OnBlock, first_passages
from orograph.escapes.descending import descends_across
from orograph.store.findings import Finding, Result


def run_cohort(
    bench: EscapeBench,
    well: Finding,
    state: Float[Tensor, " P"],
    cell: tuple[int, int, float],
    number: int,
    members: range,
    on_block: OnBlock,
    say: Callable[[str], None],
) -> Result:
    """Runs some chains of a cell.

    Args:
        bench: what chains work with.
        well: the state that they leave.
        state: its θ, `(P,)`.
        cell: number of the strength, batch size, learning rate.
        number: of the cell, by which its streams differ from those of others.
        members: numbers of the chains.
        on_block: told of the steps.
        say: told of the descents.
    """
    at, batch_size, lr = cell
    objective, chosen = bench.at(at), bench.settings.sgd
    ends = (float(well.scalars["order_parameter"]), float(well.scalars["other_order_parameter"]))
    crossing = float(well.scalars["crossing"])
    found = first_passages(
        objective,
        state,
        threshold=crossing,
        rising=ends[1] > ends[0],
        batch_size=batch_size,
        lr=lr,
        steps=chosen.steps,
        seeds=[[chosen.order_seed, number, member] for member in members],
        on_block=on_block,
    )
    crossed = found.thetas[found.escaped.to(found.thetas.device)][: chosen.checks]
    sides: list[bool | None] = []
    for theta in crossed:
        say(f"descent without noise from crossing {len(sides) + 1}")
        sides.append(descends_across(objective, theta, threshold=crossing, ends=ends, lr=lr, steps=chosen.descent_steps))
    scalars = {
        "strength": bench.settings.well.at[at],
        "batch_size": batch_size,
        "lr": lr,
        "first_passage": found.steps.tolist(),
        "escaped": found.escaped.int().tolist(),
        "diverged": found.diverged.int().tolist(),
        "checked": len(sides),
        "led_across": sides.count(True),
        "led_nowhere": sides.count(None),
    }
    return Result(scalars)
