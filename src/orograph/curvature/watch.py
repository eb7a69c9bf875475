"""Whether a module has moved since an operator was made of it: its θ, where the operator stands, and all else it holds. And
whether the data have."""

import warnings
import weakref

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.calling import writes_into
from orograph.errors import OrographWarning
from orograph.parameters import Layout

_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # numbers of so many bytes


class Watch:
    """Looks at where parameters lie and how often they were written into, which costs nothing; warns once.

    Args:
        model: the module an operator is made of.
        layout: names of the parameters that make up θ.
        theta: `(P,)`, where the operator stands.
    """

    def __init__(self, model: nn.Module, layout: Layout, theta: Float[Tensor, " P"]) -> None:
        named = dict(model.named_parameters())
        self._parameters = {name: weakref.ref(named[name]) for name in layout.names}
        self._layout, self._theta, self._warned = layout, theta, False
        self._state = _seen(self._there())

    def _there(self) -> dict[str, Tensor]:
        return {name: parameter for name, reference in self._parameters.items() if (parameter := reference()) is not None}

    def look(self) -> None:
        """Warns if they have moved and nothing was said yet."""
        there = {} if self._warned else self._there()
        if len(there) < len(self._parameters) or (state := _seen(there)) == self._state:
            return
        if torch.equal(self._layout.flatten(there).to(self._theta), self._theta):  # written into, yet the same
            self._state = state
            return
        self._warned = True
        warnings.warn(
            "the module's parameters have moved since this operator was made; it stands at the earlier θ: make it anew, or say "
            "by `at(theta)` where it is to stand.",
            OrographWarning,
            stacklevel=4,
        )


class Data:
    """Looks at how often the tensors of the data were written into; warns once.

    Args:
        tensors: as they are held, which may be the user's own.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors, self._warned = {str(place): each for place, each in enumerate(tensors)}, False
        self._state = _seen(self._tensors)

    def look(self) -> None:
        """Warns if any was and nothing was said yet."""
        if self._warned or _seen(self._tensors) == self._state:
            return
        self._warned = True
        warnings.warn(
            "the data were written into since this operator was made; its products may be of what they were, of what they are, "
            "or of both: make it anew, and give it a copy of what is to change.",
            OrographWarning,
            stacklevel=4,
        )


class Held:
    """Looks at what a module holds besides θ: parameters that are not in it, as frozen ones, and buffers; warns once.

    What the module writes into by itself in eval mode, as a count of its calls, is left out.

    Args:
        model: the module an operator is made of.
        layout: names of the parameters that make up θ.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        beside = {*layout.names, *writes_into(model)}
        self._places: dict[str, tuple[weakref.ref[nn.Module], str]] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            owner, _, key = name.rpartition(".")
            if (
                name not in beside
                and type(tensor) in (Tensor, nn.Parameter)
                and tensor.layout == torch.strided
                and not tensor.is_meta
            ):
                self._places[name] = weakref.ref(model.get_submodule(owner)), key
        there = self._there()
        self._state, self._prints, self._warned = _seen(there), _prints(there), False

    def _there(self) -> dict[str, Tensor]:
        found = {name: getattr(owner(), key, None) for name, (owner, key) in self._places.items()}
        return {name: each for name, each in found.items() if isinstance(each, Tensor)}

    def look(self) -> None:
        """Warns if any has moved and nothing was said yet."""
        there = {} if self._warned or not self._places else self._there()
        if len(there) < len(self._places) or (state := _seen(there)) == self._state:
            return
        moved = [name for name, each in _prints(there).items() if self._differs(name, each)]
        if not moved:
            self._state = state
            return
        self._warned = True
        warnings.warn(
            f"buffers or parameters outside θ ('{moved[0]}') have moved since this operator was made; its products may still be "
            "of the earlier ones: make it anew.",
            OrographWarning,
            stacklevel=4,
        )

    def _differs(self, name: str, now: tuple[torch.dtype, int]) -> bool:
        then = self._prints[name]
        return then[0] == now[0] and then[1] != now[1]  # in another dtype nothing can be told


def _seen(there: dict[str, Tensor]) -> list[tuple[int, int]]:
    return [(0 if each.is_inference() else each._version, each.data_ptr()) for each in there.values()]


def _prints(there: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, int]]:
    return {name: (each.dtype, _print(each.detach())) for name, each in there.items()}


def _print(tensor: Tensor) -> int:
    """Sums of the bits, weighted by their place along each dimension: exact, and no copy of what may be large."""
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    bits = real.view(_WHOLE[real.itemsize])[..., None]
    total = 0
    for along in range(max(1, bits.ndim - 1)):
        sums = bits.sum([dim for dim in range(bits.ndim) if dim != along] or [0], dtype=torch.int64)
        total += int((sums * torch.arange(1, sums.numel() + 1, device=sums.device)).sum()) * (2 * along + 1)
    return total
