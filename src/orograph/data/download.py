"""Downloads of the IDX files into the user's cache, each checked against its SHA-256, from the first mirror that answers."""

import logging
from pathlib import Path

from orograph.data.local import CHECKSUMS, STEMS, find_files
from orograph.data.names import DATA_VARIABLE
from orograph.errors import DataError

MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
}
_SECONDS = 30  # without an answer, before the next mirror is tried


def cache_folder(name: str) -> Path:
    """Where the files of a data set are kept once downloaded."""
    import pooch

    return Path(pooch.os_cache("orograph")) / name


def download(name: str, why: str = "") -> tuple[Path, ...]:
    """The four files of data set `name`, from the cache or else from a mirror.

    Args:
        name: `mnist`, `fashion-mnist` or `kmnist`.
        why: the reason why no local files were taken, for the message.

    Raises:
        DataError: no mirror could be reached, or none has the right files.
    """
    folder = cache_folder(name)
    if all((folder / f"{stem}.gz").is_file() or (folder / stem).is_file() for stem in STEMS):
        return find_files(name, folder.parent).files
    return tuple(_fetch(name, stem, checksum, folder, why) for stem, checksum in zip(STEMS, CHECKSUMS[name], strict=True))


def _fetch(name: str, stem: str, checksum: str, folder: Path, why: str) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    failures = []
    for mirror in MIRRORS[name]:
        try:
            downloader = pooch.HTTPDownloader(timeout=_SECONDS)
            path = pooch.retrieve(f"{mirror}{stem}.gz", checksum, fname=f"{stem}.gz", path=folder, downloader=downloader)
        except (OSError, ValueError) as error:  # no connection, no such file, a folder that cannot be written; a wrong checksum
            failures.append(f"{mirror.split('/')[2]}: {type(error).__name__}")
            continue
        return Path(path)
    raise DataError(
        f"data set '{name}' could not be downloaded ({', '.join(failures)}){f' and {why}' if why else ''}; "
        f"put {stem}.gz and its three companions into {folder}, or set {DATA_VARIABLE} to a folder that holds them."
    )
