"""How the samples are cut into chunks, and how many chunks keep their residuals, as a function of model, N and budget alone.

Short chunks keep elementwise work in the cache; long ones spare the reading of parameters and the writing of their products
once per chunk, and the call of every kernel. A first length follows from what the activations of all layers sum up to, which is
to fill the cache and to weigh several times what the parameters do. Once a chunk of that length is traced, the trace tells more:
how much a kernel moves, which must be worth its call, and how much lives at once, which is what the cache has to hold. A network
of many small kernels (a ResNet, a transformer) takes longer chunks: at once where its loss foretells that (`traffic.py`), else
it is traced anew. Where one sample alone, or a batch that stays whole, takes more than a quarter of the memory allowed, it is
traced anew for tiles of its largest tensors (`tracing/tiles.py`). Runs that were begun before the trace was asked (`summed`), or
before there were tiles (`traced`), go without, and keep their last bits. Equal chunks cost one trace; a divisor of N near the
wanted length is taken where there is one, else the last chunk is shorter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from orograph.curvature.tracing.stages import Stage
from orograph.curvature.tracing.traced import Trace
from orograph.curvature.traffic import moved_by_a_kernel
from orograph.memory import format_bytes
from orograph.objective import Objective

CACHE_BYTES = {"cpu": 16 * 2**20}
DEVICE_BYTES = 2**30  # an accelerator wants few, large launches
# Measured on one core beside 32 MiB of shared cache. A multilayer perceptron (0.9 MiB a kernel) and a CNN (1.4) gain nothing from
# chunks four times as long, and the CNN's blocks lose; a ResNet (0.5), a GPT (0.36) and an encoder (0.33) gain.
_MOVED_BYTES = 5 * 2**18  # that a kernel reads and writes
_LIVE_BYTES = 32 * 2**20
_WIDEST = 8  # tangents in one group of a block; more does not make a GEMM faster, but fills the cache
# Measured there, a column of 2, 4 and 8 against one alone: where a kernel moves 75 KiB (ResNet, 4 images) 0.6, 0.4 and 0.3 of its
# time, 250 KiB 0.85, 0.7 and 0.6; the transformers at 100 KiB 1.0, 0.7 and 0.6; all five at 650 KiB and more 0.85 to 1.1.
_SMALL_BYTES, _LEAST_WIDE = 2**19, 4
_LEAST_LIVE_BYTES = 2**21  # less is not worth tiles, however small the budget
_TILED = 8  # so many of the largest tensors of a tile live at once, about
_WORTH = 1.5  # times as long, and another trace pays
_AMPLE = 1.3  # times what is foreseen, which may be too little by as much


@dataclass(frozen=True)
class Chunking:
    """What was chosen.

    Attributes:
        length: samples in a chunk.
        chunks: their number.
        kept: how many of them keep their residuals between products; the others compute them anew for each product.
        kept_bytes, peak_bytes: of all kept residuals, and of what one chunk's work needs besides.
        tiles: in words, what of a chunk is computed tile by tile, and what could not be.
    """

    length: int
    chunks: int
    kept: int
    kept_bytes: int
    peak_bytes: int
    tiles: str = ""

    def __str__(self) -> str:
        recomputed = self.chunks - self.kept
        kept = "all residuals kept" if not recomputed else f"residuals of {self.kept} kept, of {recomputed} recomputed"
        sizes = f"{format_bytes(self.kept_bytes)}, {format_bytes(self.peak_bytes)} at work"
        return ", ".join(part for part in (f"{self.chunks} chunks of {self.length}", self.tiles, f"{kept}: {sizes}") if part)


def settled(objective: Objective, models: int, traced: Callable[[int, int], Trace]) -> tuple[int, Trace, str]:
    """The length of chunks, shorter as long as one's work exceeds the budget; its trace; and in words how it is cut itself.

    Args:
        objective: its data, device, memory and way of choosing chunks.
        models: of a cohort; 1 else.
        traced: `(length, bytes of a tile)` to the trace of the first chunk; 0: no tiles.
    """
    count, whole, place = objective.count, not objective.per_sample, (objective.device, objective.memory)
    per_sample = 3 * models * objective.activation_bytes()
    length = first_length(count, per_sample, models * objective.theta.nbytes, *place)
    if objective.chunks == "tiled" and not whole:
        length = dividing(count, foreseen_length(count, length, moved_by_a_kernel(objective, length), per_sample, *place))
    trace = traced(length, 0)
    if objective.chunks != "summed" and not whole:
        better = better_length(count, length, trace.tangent, per_sample, *place)
        better = dividing(count, better) if objective.chunks == "tiled" else better
        length, trace = (length, trace) if better == length else (better, traced(better, 0))
    while trace.peak_bytes > objective.memory and length > 1 and not whole:
        length = even_length(count, max(1, min(length // 2, length * objective.memory // trace.peak_bytes)))
        trace = traced(length, 0)
    live = max(objective.memory // 4, _LEAST_LIVE_BYTES)  # tiles take less memory, and more time
    if objective.chunks != "tiled" or trace.peak_bytes <= live or (length > 1 and not whole):
        return length, trace, ""
    tiled = traced(length, live // _TILED)
    return length, (tiled if tiled.tiling.counts and tiled.peak_bytes < trace.peak_bytes else trace), str(tiled.tiling)


def first_length(samples: int, bytes_per_sample: float, parameter_bytes: int, device: torch.device, budget: int) -> int:
    """The chunk length to begin with."""
    wanted = max(CACHE_BYTES.get(device.type, DEVICE_BYTES), 4 * parameter_bytes)
    return even_length(samples, max(1, int(min(wanted, budget / 4) / max(bytes_per_sample, 1))))


def foreseen_length(samples: int, length: int, moved: float, bytes_per_sample: float, device: torch.device, budget: int) -> int:
    """The chunk length that the trace will ask for, as far as the loss itself shows it; so that there is but one trace.

    Args:
        moved: bytes that a kernel of the loss of a chunk moves (`traffic.py`); 0: not known.
        samples, length, bytes_per_sample, device, budget: as of `better_length`.
    """
    if device.type not in CACHE_BYTES or moved == 0:
        return length
    times = min(_MOVED_BYTES / moved, budget / 4 / max(bytes_per_sample, 1) / length / _AMPLE)
    return even_length(samples, int(_AMPLE * times * length)) if times >= _WORTH else length


def better_length(samples: int, length: int, tangent: Stage, bytes_per_sample: float, device: torch.device, budget: int) -> int:
    """The chunk length once a product with a chunk was traced: a longer one where kernels move too little, else the same.

    Args:
        samples: N.
        length: of that chunk.
        tangent: the product with it.
        bytes_per_sample: as of `first_length`.
        device: a CPU's kernels are cheap to call, an accelerator's first chunks long.
        budget: of memory.
    """
    if device.type not in CACHE_BYTES or not tangent.kernels:
        return length
    times = min(
        _MOVED_BYTES * tangent.kernels / max(tangent.moved_bytes, 1),
        _LIVE_BYTES / max(tangent.peak_bytes, 1),
        budget / 4 / max(bytes_per_sample, 1) / length,
    )
    better = even_length(samples, max(length, int(times * length)))
    return better if better >= _WORTH * length else length


def fitting_width(most: int, live: Sequence[int], device: torch.device) -> int:
    """How many tangents are multiplied at once, of those that memory holds at most: what lives of all of them fits the cache."""
    held = [_LIVE_BYTES // max(size, 1) for size in live if device.type in CACHE_BYTES]
    return max(1, min([_WIDEST, most, *held]))


def pays_together(tangent: Stage, width: int, device: torch.device) -> bool:
    """Whether so many tangents at once, whose graph costs as much as tens of products, cost less than one after another."""
    if device.type not in CACHE_BYTES:
        return True
    return width >= _LEAST_WIDE and tangent.moved_bytes < _SMALL_BYTES * tangent.kernels


def dividing(samples: int, length: int) -> int:
    """A length that divides the samples, up to twice as long, where there is one: a chunk of another length has its own trace."""
    return next((longer for longer in range(length, min(2 * length, samples + 1)) if samples % longer == 0), length)


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
