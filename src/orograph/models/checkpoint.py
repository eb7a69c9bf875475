"""State dicts from files, checked key by key and shape by shape against the module that is to take them.

Nothing in a file is ever executed: `.safetensors` holds plain tensors, and `.pth` and `.pt` are read by PyTorch's restricted
unpickler.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orograph.errors import DataError, OrographWarning, shown
from orograph.memory import format_bytes
from orograph.parameters import first_names
from orograph.wrapping import PREFIXES

SUFFIXES = (".pth", ".pt", ".safetensors")
_COUNT = "n_averaged"  # beside `module.*` in a state of torch.optim.swa_utils.AveragedModel: of how many states it is the mean
_AVERAGED = re.compile(f"(?:{'|'.join(map(re.escape, PREFIXES))})*{_COUNT}")
# Several numbers a byte, or bits without arithmetic: nothing can be converted from them.
_PACKED = {kind for name, kind in vars(torch).items() if name.startswith(("float4", "bits", "uint1", "uint2", "int4", "uint4"))}


def load_checkpoint(
    path: str | Path, model: nn.Module, *, dtype: torch.dtype | None = None, names: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The state dict in a file, in the order and the dtypes of the module's own; the module itself is left as it is.

    Args:
        path: a `.pth`, `.pt` or `.safetensors` file.
        model: whose `state_dict()` the keys and shapes must be.
        dtype: of real numbers; that of the module's own where None, to which wider ones are rounded.
        names: of the parameters that are wanted: a file that has no other parameter will do. None wants all that the module has.

    Returns:
        Tensors by name, on the CPU: all of the module's, or those that such a file has.

    Raises:
        DataError: the file is missing, damaged or of another kind, it holds code, or its tensors are not those of the model.

    Examples:
        >>> import torch, orograph as og
        >>> model = torch.nn.Linear(2, 1)
        >>> torch.save(model.state_dict(), "linear.pth")
        >>> list(og.load_checkpoint("linear.pth", model))
        ['weight', 'bias']
    """
    own = model.state_dict()
    state = _complete(path, _named_as(read_state(path, finite=False), own), model, own)
    _compare(Path(path), state, own, model, names)
    for key, tensor in state.items():
        if not _sound(tensor, own[key], key in dict(model.named_parameters(remove_duplicate=False))):
            raise _not_finite(Path(path), key)
    wanted = {key: tensor.dtype if dtype is None or not tensor.is_floating_point() else dtype for key, tensor in own.items()}
    converted = {key: state[key].to(wanted[key]) for key in own if key in state}
    for key, tensor in converted.items():
        if tensor.dtype != state[key].dtype and not torch.equal(_finite(tensor), _finite(state[key])):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise DataError(
                f"checkpoint {path} has numbers in {_quoted(key)} that {kind} cannot hold; give the model a wider dtype."
            )
    return converted


def checked_state(
    state: Mapping[str, Tensor], model: nn.Module, *, dtype: torch.dtype | None = None, names: Collection[str] | None = None
) -> dict[str, Tensor]:
    """A state dict in memory, as `load_checkpoint` gives one from a file.

    Args:
        state: tensors by name.
        model: whose `state_dict()` the keys and shapes must be.
        dtype: as of `load_checkpoint`.
        names: likewise.

    Returns:
        Tensors by name, in the order and the dtypes of the module's own.

    Raises:
        DataError: its tensors are not those of the model.
    """
    own = model.state_dict()
    named = _complete("in memory", _named_as(dict(state), own), model, own)
    _compare("in memory", named, own, model, names)
    return {
        key: named[key].detach().to(tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype))
        for key, tensor in own.items()
        if key in named
    }


def _named_as(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that torch.compile, DataParallel and AveragedModel put before every name."""
    count = next((key for key in state if _COUNT not in own and _AVERAGED.fullmatch(key)), None)
    if count is not None and all(each.startswith(f"{count.removesuffix(_COUNT)}module.") for each in state if each != count):
        state = {key: tensor for key, tensor in state.items() if key != count}
    while state and not any(key in own for key in state):
        prefix = next((each for each in PREFIXES if all(key.startswith(each) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _complete(path: Path | str, state: dict[str, Tensor], model: nn.Module, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With tied tensors the same under all their names: safetensors keeps one, and some files differ."""
    found, held = dict(state), dict[str, str]()
    names = {key: first for key, first in first_names(model).items() if key in own}
    for key, first in names.items():
        if key in state:
            held.setdefault(first, key)
    for key, first in names.items():
        taken = held.get(first, key)
        if taken == key or (key in state and state[key].shape != state[taken].shape):
            continue
        found[key] = state[taken]
        if key in state and not torch.equal(state[key].to(state[taken]), state[taken]):
            warnings.warn(
                f"checkpoint {path} has other values in {_quoted(key)} than in {_quoted(taken)}, and the model ties the two: "
                f"those of {_quoted(taken)} are taken.",
                OrographWarning,
                stacklevel=2,
            )
    return found


def _sound(tensor: Tensor, own: Tensor, learned: bool) -> bool:
    """Whether all is finite but what is infinite in the model as it was built: masks, and ranges that have seen nothing yet."""
    wrong = ~_finite(tensor)
    if not wrong.any():
        return True
    return not learned and bool((own.to(tensor)[wrong] == tensor[wrong]).all())


def _not_finite(path: Path, key: str) -> DataError:
    return DataError(f"checkpoint {path} has non-finite values in {_quoted(key)}; take an earlier checkpoint.")


def read_state(path: str | Path, *, finite: bool = True) -> dict[str, Tensor]:
    """The named tensors in a file, on the CPU; all of them `finite`, or whatever they are.

    Raises:
        DataError: as `load_checkpoint`, short of a comparison with a model.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"checkpoint {path} is none of {', '.join(SUFFIXES)}; save a state dict with torch.save or safetensors.")
    if not path.is_file():
        why = "is a folder, a pipe or a device" if path.exists() else "does not exist"
        raise DataError(f"checkpoint {path} {why}; check the path.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise DataError(f"checkpoint {path} holds {type(content).__name__}, not a state dict; save model.state_dict().")
    for key, value in content.items():
        if not isinstance(key, str):
            raise DataError(f"checkpoint {path} names a tensor by {type(key).__name__}, not by text; save model.state_dict().")
        if not isinstance(value, Tensor):
            raise DataError(
                f"checkpoint {path} holds {type(value).__name__} under {_quoted(key)}, not a tensor; save model.state_dict()."
            )
        _check(path, key, value, finite=finite)
    return dict(content)


def _check(path: Path, key: str, value: Tensor, *, finite: bool) -> None:
    """Refuse what is no array of numbers in memory, or would become more of it than the file holds."""
    plain = value.layout == torch.strided and not value.is_quantized and not value.is_nested and value.device.type == "cpu"
    if not plain or value.dtype in _PACKED or type(value) not in (Tensor, nn.Parameter):
        kind = "meta" if value.is_meta else "nested" if value.is_nested else str(value.layout if value.is_sparse else value.dtype)
        raise DataError(f"checkpoint {path} holds a tensor of another kind ({kind}) in {_quoted(key)}; save plain dense tensors.")
    asked, held = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if asked > held:
        sizes = f"{format_bytes(asked)} for {_quoted(key)} out of {format_bytes(held)}"
        raise DataError(f"checkpoint {path} asks for {sizes}: it is an expanded view; save it with .clone().")
    if finite and not _finite(value).all():
        raise _not_finite(path, key)


def _finite(value: Tensor) -> Tensor:
    return torch.isfinite(value.float() if value.is_floating_point() and value.element_size() == 1 else value)  # no float8


def _quoted(key: str) -> str:
    return f"'{shown(key, 80)}'"


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise DataError(f"checkpoint {path} is truncated or no safetensors file ({_first_line(error)}); save it again.") from None


def _read_torch(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that torch.load then refuses in its own words
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        if name or _is_pickle(path):
            what = f"asks for {shown(name[1], 80)}" if name else "is a pickle of something else"
            raise DataError(f"checkpoint {path} holds more than tensors (it {what}); save model.state_dict() alone.") from None
        raise DataError(f"checkpoint {path} is truncated or not written by torch.save; save it again.") from None
    except DataError:
        raise
    except Exception:  # what the reader meets in arbitrary bytes has many types; all of them mean the same
        raise DataError(f"checkpoint {path} is truncated, corrupt or not written by torch.save; save it again.") from None


def _check_sums(path: Path) -> None:
    """Compare the archive's own checksums, which torch.load does not; torch.save never packs what it stores."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise DataError(f"checkpoint {path} is a packed archive, not written by torch.save; save it again.")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise DataError(f"checkpoint {path} is corrupt: its parts overlap; save it again.")
        damaged = archive.testzip()
    if damaged:
        raise DataError(f"checkpoint {path} is corrupt in {_quoted(damaged)} (its checksum differs); copy it again.")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _compare(
    path: Path | str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], model: nn.Module, names: Collection[str] | None
) -> None:
    first = first_names(model)
    around = [key for key, _ in model.named_parameters() if names is not None and key not in names]
    alone = bool(around) and not any(key in state for key in around)  # the parameters wanted, without those around them
    missing = [key for key in own if key not in state and not (alone and first.get(key, key) not in (names or ()))]
    extra = [key for key in state if key not in own]
    if missing and around and not alone and not extra and all(key in (names or ()) for key in missing):
        raise DataError(
            f"checkpoint {path} lacks {_quoted(missing[0])}{_others(missing)}, which `parameters` makes θ of; save the state "
            "dict of the whole network, or of these parameters."
        )
    if missing:
        besides = f" and has {_quoted(extra[0])} instead" if extra else ""
        raise DataError(
            f"checkpoint {path} lacks {_quoted(missing[0])}{_others(missing)}{besides}; it was saved from another model."
        )
    if extra:
        others = f"{_quoted(extra[0])}{_others(extra)}"
        raise DataError(f"checkpoint {path} has {others}, which the model has not; it was saved from another model.")
    for key, tensor in own.items():
        if key not in state:
            continue
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, but the model's is {tuple(tensor.shape)}"
            raise DataError(f"{_quoted(key)} in checkpoint {path} has shape {shapes}; give the model the same sizes.")
        if state[key].is_floating_point() != tensor.is_floating_point() or state[key].is_complex() != tensor.is_complex():
            raise DataError(f"{_quoted(key)} in checkpoint {path} is {state[key].dtype}, but the model's is {tensor.dtype}.")


def _others(keys: list[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""
