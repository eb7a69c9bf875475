"""A mini-batch step as one launch.

A step of a small network is a few dozen kernels of a few microseconds each: on a GPU, to launch them one by one takes longer
than they run. As a step works on fixed buffers and decides nothing by what they hold, it is recorded once as a CUDA graph
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs) and from then on launched as a whole.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

Work = Callable[[], None]
Recorder = Callable[[Work], Work]  # takes down what a function launches, without running it; gives what launches it again


def recorder(device: torch.device) -> Recorder | None:
    """What records steps on this device; None on a CPU, where a launch costs nothing."""
    return partial(_cuda_graph, device) if device.type == "cuda" else None


class Replay:
    """A step for mini-batches of any length: the first of each length runs as it is, the second is recorded.

    What a recording has seen stays in it: addresses, and plain numbers such as a learning rate. When one changes, `forget`.

    Args:
        step: of sample indices. It only launches kernels on buffers that stay where they are.
        record: None runs every step as it is.
    """

    def __init__(self, step: Callable[[Int[Tensor, "*M B"]], None], record: Recorder | None) -> None:
        self._step, self._record = step, record
        self._warm: set[int] = set()
        self._recorded: dict[int, tuple[Tensor, Work]] = {}

    def __call__(self, indices: Int[Tensor, "*M B"]) -> None:
        length = indices.shape[-1]
        if self._record is None or length not in self._warm:
            self._warm.add(length)
            self._step(indices)
            return
        if length not in self._recorded:
            buffer = indices.clone()
            try:
                self._recorded[length] = buffer, self._record(partial(self._step, buffer))
            except RuntimeError:  # a kernel that waits for the device cannot be recorded
                self._record = None
                self._step(indices)
                return
        buffer, replay = self._recorded[length]
        buffer.copy_(indices)
        replay()

    def forget(self) -> None:
        """Records anew when next called."""
        self._recorded.clear()


def _cuda_graph(device: torch.device, work: Work) -> Work:
    # The outer stream context restores the stream even when recording fails, which `torch.cuda.graph` alone does not.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream()):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
    return graph.replay
