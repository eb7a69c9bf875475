"""A network that no process holds: what two processes find with half of it each is what one finds.

The truth is the Hessian of the whole network in one process. The processes are real, joined by gloo.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from test_shards import together
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import orograph as og
from orograph.curvature import ShardedHessian
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError

WIDTH = 40
LAYERS = 3  # 5,210 parameters: products are taken to be dear


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    return nn.Sequential(*layers, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)).double()


def data() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(251, WIDTH, dtype=torch.float64, generator=generator)  # no number that two divides
    targets = torch.randint(5, (251,), generator=generator)
    targets[::7] = -100  # not counted
    return [(inputs, targets)]


class Memory(TorchDispatchMode):
    """The most bytes that lived at once of all that was made within it."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and not leaf.is_meta:
                storage = leaf.untyped_storage()
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: held for key, held in self.alive.items() if not held[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return found


def found(path: str, group: bool = True) -> dict[str, Any]:
    """What a process finds with its part; the network itself has no values in it."""
    with torch.device("meta"):
        model = network()
    state, loss = torch.load(path, mmap=True, weights_only=True), nn.CrossEntropyLoss()
    samples = data()
    with Memory() as memory:
        operator = ShardedHessian(model, loss, samples, state=state, group=torch.distributed.group.WORLD if group else None)
        del state
        memory.most = 0
        operator @ torch.ones(operator.width, dtype=torch.float64)
    made = memory.most - samples[0][0].nbytes  # slices of the inputs hold all of them, which everybody has
    spectrum = og.lanczos(operator, 2, tolerance=1e-2)
    traces = [og.trace(operator, method=method, probes=2).value for method in ("hutchinson", "hutch++", "xtrace")]
    density = og.density(operator, probes=2, steps=4)
    whole = [tensor.flatten() for _, tensor in operator.tensors(spectrum.eigenvectors[0])]
    return {
        "bytes": np.array([operator.theta.nbytes, spectrum.basis_bytes, made]),
        "values": spectrum.eigenvalues.numpy(),
        "vectors": spectrum.eigenvectors.numpy(),
        "products": spectrum.products,
        "traces": traces,
        "density": density.nodes.numpy(),
        "gradient": operator.gradient.numpy(),
        "loss": operator.loss,
        "whole": torch.cat(whole).numpy(),
    }


@pytest.mark.slow
def test_two_processes_with_half_of_everything_find_what_one_finds(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pth")
    torch.save(network().state_dict(), path)
    first, second = together(functools.partial(found, path), 2)
    alone, whole = found(path, group=False), og.HessianOperator(network(), nn.CrossEntropyLoss(), data())
    exact = og.lanczos(whole, 2, tolerance=1e-2)
    tensor = WIDTH**2 * 8
    assert alone["bytes"][2] > 50 * tensor
    for each in (first, second):
        np.testing.assert_allclose(each["values"], exact.eigenvalues.numpy(), rtol=1e-11)
        np.testing.assert_allclose(each["traces"], alone["traces"], rtol=1e-11)
        np.testing.assert_allclose(each["density"], alone["density"], rtol=1e-9, atol=1e-12)
        assert each["loss"] == pytest.approx(whole.loss, rel=1e-14)
        assert each["products"] == alone["products"] == exact.products
        more = each["bytes"] - alone["bytes"] / 2
        assert max(abs(more[:2])) <= alone["bytes"][1] / len(whole.theta)  # of θ and the basis a column more or less
        assert more[2] <= 4 * tensor  # of all that a product makes, activations most of it: and a few whole tensors
    gradient = np.concatenate([first["gradient"], second["gradient"]])
    np.testing.assert_allclose(gradient, whole.gradient.numpy(), atol=1e-15)
    vectors = np.concatenate([first["vectors"], second["vectors"]], axis=1)
    np.testing.assert_allclose(vectors, exact.eigenvectors.numpy(), atol=1e-6)
    np.testing.assert_array_equal(first["whole"], vectors[0])


def test_vectors_drawn_in_parts_are_those_drawn_whole() -> None:
    size, parts = 123_457, Shards(123_457)  # rows end within what torch makes at a time
    drawn = {name: getattr(parts, name) for name in ("gaussian", "signs")}
    for name, options in (("gaussian", (torch.float32,)), ("gaussian", (torch.float64,)), ("signs", ())):
        whole = drawn[name](3, torch.Generator().manual_seed(1), *options)
        for rank in range(2):
            part = Shards(size)
            part.group, part.rank = object(), rank
            part.start, part.stop = (0, size // 2) if rank == 0 else (size // 2, size)
            own = getattr(part, name)(3, torch.Generator().manual_seed(1), *options)
            assert torch.equal(own, whole[:, part.start : part.stop])


def small(model: nn.Module, loss: Any = None, samples: Any = None, **options: Any) -> ShardedHessian:
    pairs = [(torch.randn(6, 4).double(), torch.arange(6) % 3)]
    return ShardedHessian(model.double(), loss or nn.CrossEntropyLoss(), samples or pairs, **options)


@pytest.mark.slow
def test_of_one_process_it_is_the_hessian_with_frozen_parameters_and_attention() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(4, 2, 5, batch_first=True).double()
    model.linear1.weight.requires_grad_(False)
    samples = [(torch.randn(3, 2, 4).double(), torch.randn(3, 2, 4).double())]
    sharded, whole = small(model, nn.MSELoss(), samples), og.HessianOperator(model, nn.MSELoss(), samples)
    block = torch.randn(whole.size, 2, dtype=torch.float64)
    torch.testing.assert_close(sharded @ block, whole @ block, rtol=1e-10, atol=1e-13)
    sharded.examine()


class Detached(nn.Linear):
    def forward(self, given: Tensor) -> Tensor:
        found = super().forward(given)
        return found * found.detach()


def test_what_cannot_be_shared_or_differentiated_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mixes the samples"):
        small(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)))
    with pytest.raises(ConfigurationError, match="one number a batch"):
        small(nn.Linear(4, 3), lambda outputs, targets: outputs.square().mean())
    with torch.device("meta"):
        empty = nn.Linear(4, 3)
    with pytest.raises(ConfigurationError, match="meta device"):
        small(empty)
    with pytest.raises(ConfigurationError, match="detached"):
        small(Detached(4, 3)).examine()
    with pytest.raises(ConfigurationError, match="takes whole ones"):
        og.spectral.conjugate_gradient(small(nn.Linear(4, 3)), torch.ones(15).double())


@pytest.mark.slow
def test_no_sign_and_no_digit_is_claimed_of_products_in_bfloat16_that_rounding_could_have_made() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3))
    samples = [(torch.randn(50, 6).double(), torch.randint(0, 3, (50,)))]
    operator = small(model, None, samples, dtype=torch.float32, compute=torch.bfloat16)
    exact = operator.double()  # at the same rounded θ
    truth = torch.linalg.eigvalsh(exact @ torch.eye(operator.size, dtype=torch.float64))
    found = og.lanczos(operator, k=60, tolerance=0.05, max_products=150)
    error = found.residuals + torch.tensor(found.noise_level).nan_to_num()  # nan where it was not asked for
    assert found.residuals.median() > 1e-4 * truth.abs().max()  # those of exact products: what bfloat16 leaves
    for value, allowed, sign in zip(found.eigenvalues, error, found.signs, strict=True):
        near = truth[(truth - value).abs() <= allowed]
        assert len(near)
        assert sign == 0 or (near.sign() == sign).all()
