"""How the samples are cut into chunks, and how many chunks keep their residuals, as a function of model, N and budget alone.

Short chunks keep elementwise work in the cache; long ones spare the reading of parameters and the writing of their products
once per chunk. So a chunk's work is to fill the cache, and to weigh several times what the parameters do. Equal
chunks cost one trace; a divisor of N near the wanted length is taken where there is one, else the last chunk is shorter.
"""

from dataclasses import dataclass

import torch

from orograph.memory import format_bytes

CACHE_BYTES = {"cpu": 16 * 2**20}
DEVICE_BYTES = 2**30  # an accelerator wants few, large launches


@dataclass(frozen=True)
class Chunking:
    """What was chosen.

    Attributes:
        length: samples in a chunk.
        chunks: their number.
        kept: how many of them keep their residuals between products; the others compute them anew for each product.
        kept_bytes, peak_bytes: of all kept residuals, and of what one chunk's work needs besides.
    """

    length: int
    chunks: int
    kept: int
    kept_bytes: int
    peak_bytes: int

    def __str__(self) -> str:
        recomputed = self.chunks - self.kept
        kept = "all residuals kept" if not recomputed else f"residuals of {self.kept} kept, of {recomputed} recomputed"
        sizes = f"{format_bytes(self.kept_bytes)}, {format_bytes(self.peak_bytes)} at work"
        return f"{self.chunks} chunks of {self.length}, {kept}: {sizes}"


def first_length(samples: int, bytes_per_sample: float, parameter_bytes: int, device: torch.device, budget: int) -> int:
    """The chunk length to begin with."""
    wanted = max(CACHE_BYTES.get(device.type, DEVICE_BYTES), 4 * parameter_bytes)
    return even_length(samples, max(1, int(min(wanted, budget / 4) / max(bytes_per_sample, 1))))


def even_length(samples: int, wanted: int) -> int:
    """A length near the wanted one that divides the samples; else the one that makes chunks nearly equal."""
    if wanted >= samples:
        return samples
    divisors = [length for length in range(max(1, wanted // 2), wanted + 1) if samples % length == 0]
    if divisors:
        return divisors[-1]
    chunks = -(-samples // wanted)
    return -(-samples // chunks)


def how_many_fit(sizes: list[int], peak: int, budget: int) -> int:
    """How many of the chunks, the first ones, may keep residuals of these sizes within the budget."""
    left, count = budget - peak, 0
    for size in sizes:
        if size > left:
            break
        left -= size
        count += 1
    return count
