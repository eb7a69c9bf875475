"""The samples that mini-batches are drawn from: all of them, or one piece after another of data that are read again.

A piece is as many samples as an eighth of the memory budget holds, a whole number of mini-batches; they are shuffled within it,
and pieces come in the order of the data. So an epoch has as many steps as over data that are held, and sees every sample once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from orograph.errors import ConfigurationError, DataError
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.samples import cut, stacked

_ALIKE = "pieces of one shape"  # a key of what an objective keeps


@dataclass(eq=False)
class Samples:
    """Some samples, indexed from 0.

    Attributes:
        leaves: of the inputs, `(n, …)` each.
        targets: `(n, …)`.
    """

    leaves: list[Tensor]
    targets: Tensor

    @property
    def sources(self) -> list[Tensor]:
        """All that a mini-batch is drawn from."""
        return [*self.leaves, self.targets]


def samples(objective: Objective) -> Samples:
    """All samples: the objective's own tensors where they lie in one piece.

    Raises:
        ConfigurationError: the module reads a batch as a whole (but for statistics of its own, which are those of mini-batches).
        DataError: samples that cannot stand side by side.
    """
    _require_apart(objective)
    batches = list(objective.batches(objective.count))
    leaves = [_leaves(batch) for batch in batches]
    if len(batches) == 1:
        return Samples(leaves[0], batches[0][1])
    inputs = [stacked(parts, "inputs") for parts in zip(*leaves, strict=True)]
    return Samples(inputs, stacked([targets for _, targets in batches], "targets"))


class Pieces:
    """The pieces of an objective's data, one of which is at hand.

    Args:
        objective: gives the data.
        length: of a mini-batch.

    Attributes:
        at_hand: the samples that indices mean; those of a piece from when it is come to.
        several: whether there is more than one piece.

    Raises:
        ConfigurationError: the module reads a batch as a whole.
        DataError: samples that cannot stand side by side.
    """

    def __init__(self, objective: Objective, length: int) -> None:
        self._objective, self.several = objective, objective.streamed
        if not self.several:
            self.at_hand = samples(objective)
            return
        _require_apart(objective)
        inputs, targets = next(objective.batches(1))
        self.at_hand = Samples(_leaves((inputs, targets)), targets)
        each = sum(source.nbytes for source in self.at_hand.sources) // len(targets)
        self._length = max(1, objective.memory // (2 * max(1, each)) // length) * length
        if not objective.traces.get(_ALIKE):
            for batch in objective.batches():
                for one, other in zip(self.at_hand.sources, [*_leaves(batch), batch[1]], strict=True):
                    stacked([one[:0], other[:0]], "samples")
            objective.traces[_ALIKE] = True

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        """Comes to each piece in turn: its number, None where there is but one, and how many samples it has."""
        if not self.several:
            yield None, self._objective.count
            return
        for number, batch in enumerate(cut(self._objective.batches(self._length), self._length)):
            self.at_hand.leaves, self.at_hand.targets = _leaves(batch), batch[1]
            yield number, len(batch[1])


def _require_apart(objective: Objective) -> None:
    modules = objective.model.modules()
    own = any(isinstance(module, nn.modules.batchnorm._NormBase) and not module.track_running_stats for module in modules)
    if objective.mixed and not own:
        raise ConfigurationError(f"{objective.whole}; training draws mini-batches of single samples and cannot cut it.")


def _leaves(batch: Batch) -> list[Tensor]:
    """Those of the inputs, all of them tensors of samples."""
    leaves = tree_flatten(batch[0])[0]
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.ndim:
            raise DataError(
                f"inputs hold {type(leaf).__name__} ({str(leaf)[:40]}) beside tensors of samples, and mini-batches are drawn "
                "from tensors; give it to the module by functools.partial, or by a module around yours."
            )
    return leaves
