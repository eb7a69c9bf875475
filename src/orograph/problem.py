"""What is studied: a network, a loss, training and test data, metrics, and groups of samples.

Groups generalise classes: any labelling of the samples (class, domain, bucket of lengths). Where nobody gives one, the targets
are the labels if they are classes.
"""

import contextlib
import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from orograph.attention import with_eager_attention
from orograph.batch_loss import BatchLoss
from orograph.brief import brief
from orograph.calling import apart
from orograph.contents import digests, unit_inputs
from orograph.data.dataset import Dataset
from orograph.dependence import require_parted
from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.intake import pairs, placed
from orograph.keeping import rewound
from orograph.labels import order, plain
from orograph.leftovers import require_outputs_alone
from orograph.loading import as_batches, loaded
from orograph.metrics import Metric, metric
from orograph.models.checkpoint import checked_state, load_checkpoint
from orograph.objective import Objective
from orograph.parameters import layout_of
from orograph.process import seeded_stream
from orograph.samples import lined_up, spread
from orograph.sources import called, name_of
from orograph.wrapping import unwrapped

Grouping = Callable[[Any, Tensor], Any] | tuple[Any, Any] | None


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each sample is in.

    Attributes:
        names: of the groups, in order of their number.
        train: `(N,)` int64, the group of every training sample.
        test: `(M,)` int64, of every test sample; None without test data.
    """

    names: tuple[str, ...]
    train: Tensor
    test: Tensor | None


@brief
@dataclass(frozen=True, eq=False)
class Problem:
    """A network, a loss and data, with what is measured of them.

    Attributes:
        model: a function that makes the network, called with what it asks for of `init_seed`, `input_shape` and `classes`;
            without `init_seed` it draws from torch's global stream, which is seeded for it. Or a module: every start is a copy.
        loss: `(outputs, targets) → ` one value per sample, a mean or a sum.
        train: batches `(inputs, targets)`; or one such pair of whole tensors; or a `torch.utils.data.Dataset`, or a loader that
            gives the same batches each time. Or a function without arguments that gives training data, a pair of training and
            test data, or a mapping of `train`, `test` and `classes`.
        test: likewise; None where there are no test data.
        metrics: names of `orograph.metrics.METRICS`, or metrics of one's own; None for those that outputs and targets admit.
        groups: `(inputs, targets) → ` n labels of a batch, numbers or words; or the labels of all training and all test samples;
            None takes the targets where they are classes.
        parameters: comma-separated globs of the parameter names that make up θ; the penalty is on these alone.
        trainer: `(model, penalty, start, seed, report)` that trains a network in place, as `orograph.train_own` describes; None
            for the program's own training.
        classes: names of the classes, in the order of the model's outputs; numbers where they have none.
        input_shape: of one sample, for a model that asks for it; that of the first sample when None.
        optimizer: `(parameters, lr=…)` to an optimiser as `torch.optim` has them, for a sweep; None for that of its settings.
        names: by what a run records `model`, `data`, `loss` and `groups`; left out, from where they are defined.
        images: the named set that the data came from, whose images figures show.

    Raises:
        ConfigurationError: a metric that nobody knows.

    Examples:
        >>> import torch, orograph as og
        >>> x = torch.randn(20, 3)
        >>> problem = og.Problem(lambda: torch.nn.Linear(3, 1), torch.nn.MSELoss(), train=(x, x.sum(1, keepdim=True)))
        >>> problem.build(0).weight.shape
        torch.Size([1, 3])
    """

    model: nn.Module | Callable[..., nn.Module]
    loss: Callable[[Any, Tensor], Tensor]
    train: Any
    test: Any = None
    metrics: Sequence[Metric | str] | None = None
    groups: Grouping = None
    parameters: str = "*"
    trainer: Callable[..., None] | None = None
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] | None = None
    optimizer: Callable[..., Any] | None = None
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    images: Dataset | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        chosen = self.metrics
        if chosen is not None:
            object.__setattr__(self, "metrics", tuple(metric(each) if isinstance(each, str) else each for each in chosen))
        if inspect.isroutine(self.train):
            self._load(self.train)
        for name in ("train", "test"):
            object.__setattr__(self, name, as_batches(getattr(self, name), name))

    def _load(self, loader: Callable[[], Any]) -> None:
        """Data from a function, by whose name a run can ask for them again."""
        if self.test is not None:
            raise ConfigurationError("`train` is a function: have it give the test data too, and leave `test` out.")
        name = self.names.get("data") or name_of(loader)
        for part, value in {"test": None, **loaded(name, called("data", name, loader))}.items():
            object.__setattr__(self, part, value)
        object.__setattr__(self, "names", {**self.names, "data": name})

    def build(self, seed: int) -> nn.Module:
        """The network as a seed initialises it.

        Args:
            seed: of the initialisation; of a module given as such it decides nothing.

        Returns:
            A module of its own.

        Raises:
            ConfigurationError: the function gives no module, or needs an argument that nobody offers; or the loss reads what the
                module's forward leaves behind, where a copy's is meant.
            DataError: calling it fails.
        """
        if isinstance(self.model, nn.Module):
            self._parted  # noqa: B018 - looks once
            return with_eager_attention(copy.deepcopy(self.model))
        name = self.names.get("model") or str(getattr(self.model, "__qualname__", "the factory"))
        offered = {"init_seed": seed, "input_shape": self.shape, "classes": self.outputs}
        with seeded_stream(seed):
            made = called("model", name, self.model, {key: value for key, value in offered.items() if value is not None})
        if not isinstance(made, nn.Module):
            raise ConfigurationError(f"`model` {name} gave {type(made).__name__}, not a torch.nn.Module.")
        return with_eager_attention(made)

    @cached_property
    def _parted(self) -> None:
        """Refuses a loss that reads the module, or what it leaves behind: it would read this one's, and copies are trained."""
        assert isinstance(self.model, nn.Module)
        try:
            own = BatchLoss(self.model, self.parameters, None)
            batch = placed(self.first, own.device, own.dtype)
        except OrographError:  # said where they are used
            return
        outputs, value = None, None
        with apart(), rewound(self.model, self.loss):
            require_outputs_alone(own, (self.loss,), batch)
            inputs, targets = spread(batch, 1) if lined_up(batch) else batch
            with torch.enable_grad(), contextlib.suppress(Exception):  # said where they are used
                outputs = own.outputs(own.theta.detach().requires_grad_(), inputs)
                value = self.loss(outputs, targets)
        if isinstance(value, Tensor):
            require_parted(self.model, self.loss, own.layout, outputs, value)

    def with_model(self, model: Callable[..., nn.Module]) -> "Problem":
        """The same problem for another network.

        Args:
            model: makes it.

        Returns:
            Another problem; data are shared.
        """
        return replace(self, model=model)

    def objective(self, at: Any = None, *, test: bool = False, **options: Any) -> Objective:
        """The loss of this network on its data, at weights of one's own: what sharpness, surfaces and spectra are taken of.

        Args:
            at: a state dict or the path of one, a module that has the weights, or θ `(P,)`; None is the network as seed 0
                initialises it.
            test: on the test data instead of the training data.
            options: of `Objective`: `strength`, `anchor`, `memory`, `dtype`.

        Returns:
            The objective, whose `theta` is there.

        Raises:
            DataError: the weights are not those of this network, or there are no test data.
            ConfigurationError: network, loss and data do not go together.
        """
        data = self.test if test else self.train
        if data is None:
            raise DataError("the problem has no test data; give `test`, or ask for the training data.")
        found = Objective(self.network(at), self.loss, data, parameters=self.parameters, **options)
        return found.moved(at) if isinstance(at, Tensor) else found

    def network(self, at: Any = None) -> nn.Module:
        """The network with weights of one's own.

        Args:
            at: a state dict, the path of one, or a module that has the weights; anything else leaves those of seed 0, as a state
                dict of the `parameters` alone does around these.

        Returns:
            A module of its own.

        Raises:
            DataError: the weights are not those of this network.
        """
        model = self.build(0)
        if isinstance(at, nn.Module):
            at = at.state_dict()
        if isinstance(at, str | Path | Mapping):
            inner = unwrapped(model)
            names = layout_of(inner, self.parameters).names
            read = checked_state(at, inner, names=names) if isinstance(at, Mapping) else load_checkpoint(at, inner, names=names)
            inner.load_state_dict(read, strict=False)
        return model

    @cached_property
    def first(self) -> tuple[Any, Tensor]:
        """The first batch of the training data."""
        try:
            found = next(pairs(self.train), None)
        except (DataError, ConfigurationError):
            raise
        except (Exception, SystemExit) as error:  # whatever the user's loader raises
            raise DataError(f"the training data cannot be iterated: {str(error).splitlines()[0]}.") from error
        if found is None:
            raise DataError("the training data have no samples; a stream that was read to its end before gives none again.")
        return found

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of one sample, where the inputs are one tensor."""
        if self.input_shape is not None:
            return self.input_shape
        inputs = self.first[0]
        return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else None

    @property
    def shows(self) -> bool:
        """Whether the samples are images to be drawn: of a named set, or one or three channels in tensors that are at hand."""
        if self.images is not None:
            return True
        shape = self.shape or ()
        return isinstance(self.train, list | tuple) and len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1

    def pixels(self, samples: Int[Tensor, " n"]) -> Float[Tensor, "n C H W"]:
        """Training samples as images, from 0 to 1; of those of one's own 0 is the least value of all and 1 the largest.

        Args:
            samples: `(n,)` their numbers, where the problem `shows` images.

        Returns:
            `(n, C, H, W)`.
        """
        if self.images is not None:
            return (self.images.train_inputs[samples] * self.images.std + self.images.mean).clamp(0, 1)
        return unit_inputs(self.train)[samples]

    @property
    def outputs(self) -> int | None:
        """How many classes there are: those with names, or those of the training targets; or how many numbers a target is."""
        if self.classes:
            return len(self.classes)
        targets = self.first[1]
        if targets.is_floating_point():
            return int(targets[0].numel())
        if targets.ndim != 1:
            return None
        largest = [int(each.max()) for _, each in pairs(self.train) if each.numel()]
        if not largest:
            raise DataError("the training data have no samples; give some.")
        return 1 + max(largest)

    def grouped(self) -> Groups | None:
        """The groups of all samples; None where there are none: nobody gave any, and the targets are no classes.

        Returns:
            Names and numbers.

        Raises:
            DataError: labels that are not one for each sample.
        """
        train = self._labels("train", self.train, 0)
        if train is None:
            return None
        test = None if self.test is None else self._labels("test", self.test, 1)
        own = self.groups is None
        values = sorted({*train, *(test or ())}, key=order)
        if own:  # classes keep their numbers
            names = self.classes or tuple(map(str, range(int(max(values)) + 1)))
            if values[0] < 0 or values[-1] >= len(names):
                return None
            numbers = {value: int(value) for value in values}
        else:
            names, numbers = tuple(map(str, values)), {value: number for number, value in enumerate(values)}
        one, other = (None if each is None else torch.tensor([numbers[value] for value in each]) for each in (train, test))
        assert one is not None
        return Groups(names, one, other)

    def _labels(self, name: str, data: Any, place: int) -> list[Any] | None:
        """One label for each sample, as a number or a word."""
        found: list[Any] = []
        given = self.groups
        if given is None:
            for _, targets in pairs(data):
                if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
                    return None
                found += targets.tolist()
            return found
        count = sum(len(targets) for _, targets in pairs(data))
        if callable(given):
            for inputs, targets in pairs(data):
                batch = {"inputs": inputs, "targets": targets}
                labels = plain(called("groups", self.names.get("groups") or "the function", partial_of(given), batch))
                if len(labels) != len(targets):
                    raise DataError(
                        f"`groups` gave {len(labels)} labels for a batch of {len(targets)} {name} samples; give one each."
                    )
                found += labels
        else:
            found = plain(given[place])
        if len(found) != count:
            raise DataError(f"`groups` has {len(found)} labels for {count} {name} samples; give one for each.")
        return found

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all tensors of both sets."""
        leaves = (leaf for data in self._sets for batch in pairs(data) for leaf in tree_leaves(batch))
        return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))

    @property
    def _sets(self) -> tuple[Any, ...]:
        return (self.train,) if self.test is None else (self.train, self.test)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all inputs and targets: what a run was really made on.

        Raises:
            DataError: they are others when they are read again, or in another order.
        """
        if self.images is not None:
            return self.images.checksum
        found = self._read_through
        if not all(isinstance(each, list | tuple) for each in self._sets) and digests(*self._sets) != found:
            raise DataError(
                "the data have other values, or another order, when they are read again; pass a loader with shuffle=False, "
                "without random sampling and without random augmentation: training shuffles by itself."
            )
        return found[0]

    @property
    def contents(self) -> str:
        """SHA-256 of the values of all samples, however they are batched and whatever holds them."""
        return self._read_through[1]

    @cached_property
    def _read_through(self) -> tuple[str, str]:
        return digests(*self._sets)


def partial_of(function: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Any]:
    """A function of a batch whose own arguments may have any names."""

    def of(inputs: Any, targets: Tensor) -> Any:
        return function(inputs, targets)

    return of
