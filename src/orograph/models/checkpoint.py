"""State dicts from files, checked key by key and shape by shape against the module that is to take them.

Nothing in a file is ever executed: `.safetensors` holds plain tensors, and `.pth` and `.pt` are read by PyTorch's restricted
unpickler.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orograph.errors import DataError

SUFFIXES = (".pth", ".pt", ".safetensors")


def load_checkpoint(path: str | Path, model: nn.Module) -> dict[str, Tensor]:
    """The state dict in a file, in the order and the dtypes of the module's own; the module itself is left as it is.

    Args:
        path: a `.pth`, `.pt` or `.safetensors` file.
        model: whose `state_dict()` the keys and shapes must be.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        DataError: the file is missing, damaged or of another kind, it holds code, or its tensors are not those of the model.

    Examples:
        >>> import torch, orograph as og
        >>> model = torch.nn.Linear(2, 1)
        >>> torch.save(model.state_dict(), "linear.pth")
        >>> list(og.load_checkpoint("linear.pth", model))
        ['weight', 'bias']
    """
    state = read_state(path)
    own = model.state_dict()
    _compare(Path(path), state, own)
    return {key: state[key].to(tensor.dtype) for key, tensor in own.items()}


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The named tensors in a file, on the CPU.

    Raises:
        DataError: as `load_checkpoint`, short of a comparison with a model.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"checkpoint {path} is none of {', '.join(SUFFIXES)}; save a state dict with torch.save or safetensors.")
    if not path.is_file():
        raise DataError(f"checkpoint {path} does not exist; check the path.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise DataError(f"checkpoint {path} holds {type(content).__name__}, not a state dict; save model.state_dict().")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"checkpoint {path} holds {type(value).__name__} under '{key}', not a tensor; save model.state_dict()."
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise DataError(f"checkpoint {path} has non-finite values in '{key}'; take an earlier checkpoint.")
    return {str(key): value for key, value in content.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
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
            what = f"asks for {name[1]}" if name else "is a pickle of something else"
            raise DataError(f"checkpoint {path} holds more than tensors (it {what}); save model.state_dict() alone.") from None
        raise DataError(f"checkpoint {path} is truncated or not written by torch.save; save it again.") from None
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, IndexError, AttributeError, TypeError, zipfile.BadZipFile):
        # What the reader meets in arbitrary bytes has many types; all of them mean the same.
        raise DataError(f"checkpoint {path} is truncated, corrupt or not written by torch.save; save it again.") from None


def _check_sums(path: Path) -> None:
    """Compare the archive's own checksums, which torch.load does not."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise DataError(f"checkpoint {path} is corrupt in '{damaged}' (its checksum differs); copy it again.")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _compare(path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    if missing:
        besides = f" and has '{extra[0]}' instead" if extra else ""
        raise DataError(f"checkpoint {path} lacks '{missing[0]}'{_others(missing)}{besides}; it was saved from another model.")
    if extra:
        raise DataError(
            f"checkpoint {path} has '{extra[0]}'{_others(extra)}, which the model has not; it was saved from another model."
        )
    for key, tensor in own.items():
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, but the model's is {tuple(tensor.shape)}"
            raise DataError(f"'{key}' in checkpoint {path} has shape {shapes}; give the model the same sizes.")
        if state[key].is_floating_point() != tensor.is_floating_point():
            raise DataError(f"'{key}' in checkpoint {path} is {state[key].dtype}, but the model's is {tensor.dtype}.")


def _others(keys: list[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""
