"""Data as people have them: batches, whole tensors, data sets of samples, named sets, and functions that give any of these."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as Samples

from orograph.data.dataset import Dataset
from orograph.errors import DataError

_BATCH = 1024  # samples of a torch data set that are read together


def as_batches(data: Any, name: str = "data") -> Any:
    """Batches out of what people have: those, one pair of whole tensors, or a data set of single samples.

    Args:
        data: any of these.
        name: for messages.

    Returns:
        A re-iterable of batches.

    Raises:
        DataError: a stream, which can be read once only.
    """
    if isinstance(data, IterableDataset):
        raise DataError(
            f"`{name}` is a {type(data).__name__}, which can be read once only; pass a list of batches or a DataLoader."
        )
    if isinstance(data, Samples):
        return DataLoader(data, batch_size=_BATCH, shuffle=False)
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(each, Tensor | np.ndarray) for each in data):
        return [(data[0], data[1])]
    return data


def loaded(path: str, found: Any) -> dict[str, Any]:
    """What a loader of one's own gave, as `Problem` takes it.

    Args:
        path: that named it, for messages.
        found: a named set, a mapping with `train`, `test` and `classes`, a pair of training and test data, or the former alone.

    Returns:
        Arguments of `Problem`.

    Raises:
        DataError: a mapping without training data, or nothing.
    """
    if isinstance(found, Dataset):
        return of_images(found)
    if isinstance(found, Mapping):
        if "train" not in found or set(found) - {"train", "test", "classes"}:
            raise DataError(
                f"`data` {path} gave a mapping of {', '.join(map(str, found))}; give train, and test and classes if there are."
            )
        parts = dict(found)
        parts["classes"] = tuple(map(str, parts.get("classes") or ()))
        return parts
    if found is None:
        raise DataError(f"`data` {path} gave None; return training and test data.")
    if isinstance(found, tuple) and len(found) == 2 and not hasattr(found[1], "shape"):
        return {"train": found[0], "test": found[1]}
    return {"train": found}


def of_images(data: Dataset) -> dict[str, Any]:
    """A named set as `Problem` takes it.

    Args:
        data: as `load_data` gives it.

    Returns:
        Arguments of `Problem`.
    """
    return {
        "train": data.train,
        "test": data.test,
        "classes": data.classes,
        "input_shape": data.input_shape,
        "images": data,
    }
