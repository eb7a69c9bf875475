"""How many bytes a run will take on the disk, stated before it starts.

Binary files are exact. Text is counted with the mean length of a float32 in its shortest form, with the separator: 13.4 bytes in
unit vectors of 100,000 entries, 12.9 in those of 10,000 (measured).
"""

from dataclasses import dataclass
from typing import Literal

from orograph.brief import brief

Eigenvectors = Literal["both", "zarr", "none"]

_TEXT = 13.5  # bytes of one float32 and a comma
_SMALL_FILES = 12_000  # records, timings, eigenvalues, rows of tables, headers


@brief
@dataclass(frozen=True)
class DiskEstimate:
    """Bytes of one point and of the whole run, by kind of file.

    Attributes:
        points: number of points.
        parts: bytes at one point by kind of file.
    """

    points: int
    parts: dict[str, float]

    @property
    def per_point(self) -> float:
        """Bytes of one point."""
        return sum(self.parts.values())

    @property
    def total(self) -> float:
        """Bytes of the run."""
        return self.points * self.per_point


def estimate_disk(
    points: int, parameters: int, k: int, eigenvectors: Eigenvectors = "both", *, extra_vectors: int = 0
) -> DiskEstimate:
    """Bytes of all files of a sweep.

    Args:
        points: over all seeds and directions.
        parameters: P.
        k: eigenpairs a point.
        eigenvectors: kept as CSV and array, as array only, or not at all.
        extra_vectors: further arrays of P float32 at each point.

    Returns:
        Bytes of one point by kind of file, and their sum over all points.
    """
    vector = 4.0 * parameters
    return DiskEstimate(
        points,
        {
            "weights": vector,
            "gradient (csv)": (_TEXT + 1) * parameters,
            "gradient (array)": vector,
            "eigenvectors (csv)": _TEXT * k * parameters if eigenvectors == "both" else 0.0,
            "eigenvectors (array)": k * vector if eigenvectors != "none" else 0.0,
            "other arrays": extra_vectors * vector,
            "records and tables": float(_SMALL_FILES),
        },
    )
