"""Finding the four IDX files of an MNIST-like data set in a folder that the user has.

All three data sets use the same file names, so that a folder that names one of them is never taken for another, and neither
are files whose content is known to be another's.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from orograph.data.idx import digest_of, read_idx
from orograph.errors import DataError

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# The folder that other tools give each data set.
FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

# SHA-256 of the canonical downloads, in the order of STEMS, gzipped.
CHECKSUMS = {
    "mnist": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion-mnist": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": (
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
}

# SHA-256 of MNIST's unpacked training labels, which tells them however the file was packed.
_MNIST_LABELS = "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"


@dataclass(frozen=True)
class LocalFiles:
    """The four files of a data set, in the order of STEMS, or why there are none."""

    files: tuple[Path, ...]
    reason: str = ""


def find_files(name: str, folder: Path) -> LocalFiles:
    """The files of data set `name` in `<folder>/<name>/`, `<folder>/<Name>/raw/` or `<folder>` itself.

    Raises:
        DataError: the folder does not exist, lacks some of the four files, or holds another data set's files.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder that holds the IDX files.")
    reason = f"{folder} holds no IDX files of '{name}'"
    for place in (folder / name, folder / FOLDERS[name] / "raw", folder):
        present = [_variant(place, stem) for stem in STEMS]
        files = tuple(path for path in present if path)
        if not files:
            continue
        named = _named_by(place)
        if named not in (None, name):
            reason = f"the IDX files in {place} are those of '{named}' by the folder's name"
            continue
        if len(files) < len(STEMS):
            missing = next(stem for stem, path in zip(STEMS, present, strict=True) if not path)
            raise DataError(f"{place} lacks {missing} (plain or .gz); add it to the other files of '{name}'.")
        known = _known_content(files[1])
        if known not in (None, name):
            raise DataError(
                f"the IDX files in {place} are those of '{known}', not of '{name}'; put each data set into a folder of its name."
            )
        return LocalFiles(files)
    return LocalFiles((), reason)


def _variant(place: Path, stem: str) -> Path | None:
    """The file as it is usually called, plain or gzipped, also with the dot that some copies have."""
    for spelling in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = place / (spelling + suffix)
            if path.is_file():
                return path
    return None


def _named_by(place: Path) -> str | None:
    """The data set that a folder's name stands for, if any."""
    place = place.resolve()
    folder = place.parent if place.name.lower() == "raw" else place
    plain = "".join(letter for letter in folder.name.lower() if letter.isalnum())
    return next((name for name in FOLDERS if name.replace("-", "") == plain), None)


def _known_content(labels: Path) -> str | None:
    """The data set that a file of training labels certainly belongs to, if that is known."""
    packed = digest_of(labels)
    for name, checksums in CHECKSUMS.items():
        if packed == checksums[1]:
            return name
    return "mnist" if hashlib.sha256(read_idx(labels, 1).data).hexdigest() == _MNIST_LABELS else None
