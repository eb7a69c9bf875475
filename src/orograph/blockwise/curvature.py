"""Spectrum, trace, density and effective rank of every block on the diagonal, and the couplings between blocks, in one call.

A block is not the whole: an eigenvalue of A_BB is at most λ_max(A) (Cauchy's interlacing), and what couples blocks may carry the
largest curvature of all. How much does is measured beside: `Couplings.off_diagonal`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from orograph.arguments import checked
from orograph.blockwise.block_operator import BlockOperator
from orograph.blockwise.frobenius import Couplings, couplings
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError
from orograph.spectral.densities import Density, density
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.spectrum import Spectrum


@brief
@dataclass(frozen=True, eq=False)
class BlockCurvature:
    """What is known of the blocks.

    Attributes:
        couplings: traces, squared norms, the share outside the diagonal blocks.
        spectra: by name, the largest pairs of each block, vectors of the block's own length; empty where none were asked.
        densities: by name; empty where none were asked.
        products: of the whole operator.

    Examples:
        >>> import torch, orograph as og
        >>> A = og.MatrixOperator(torch.tensor([[5.0, 3.0], [3.0, 5.0]]))  # eigenvalues 8 and 2
        >>> found = og.block_curvature(A, {"first": torch.tensor([0]), "second": torch.tensor([1])}, k=0)
        >>> round(found.couplings.off_diagonal.value, 6)  # 18 of 68
        0.264706
    """

    couplings: Couplings
    spectra: dict[str, Spectrum]
    densities: dict[str, Density]
    products: int

    def table(self) -> list[dict[str, float | str]]:
        """One row a block, for pandas or print.

        Returns:
            Name, parameters, trace and effective rank with their errors, ‖A_BB‖_F, and λ_max where pairs were asked for.
        """
        rows: list[dict[str, float | str]] = []
        for place, name in enumerate(self.couplings.names):
            trace, rank = self.couplings.traces[place], self.couplings.effective_rank(name)
            row: dict[str, float | str] = {"block": name, "parameters": self.couplings.sizes[place]}
            row |= {"trace": trace.value, "trace_error": trace.error}
            row |= {"effective_rank": rank.value, "effective_rank_error": rank.error}
            row["frobenius"] = self.couplings.squares[place, place].item() ** 0.5
            if name in self.spectra:
                row["lambda_max"] = self.spectra[name].eigenvalues[0].item()
            rows.append(row)
        return rows


@checked
def block_curvature(
    operator: LinearOperator,
    blocks: Mapping[str, Int[Tensor, " p"]],
    *,
    k: int = 5,
    probes: int = 16,
    steps: int = 0,
    tolerance: float = 1e-4,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> BlockCurvature:
    """Curvature block by block, each at the cost of one trace and one spectrum.

    Args:
        operator: A, symmetric, as a Hessian.
        blocks: by name the places in θ, `(p,)` int64, as `partition` gives them.
        k: largest pairs of each block, one less than its parameters at most; 0 for none.
        probes: of traces, norms and densities; each costs a product a block.
        steps: of the density's chains; 0 for none.
        tolerance: of the pairs, relative; see `lanczos`.
        seed: of all random vectors.
        on_product: called with "blocks", "spectrum NAME", "density NAME" and the products of that stage so far.

    Returns:
        Traces and couplings with errors, spectra with certified residuals, densities.

    Raises:
        ConfigurationError: an argument is out of range, or places are shared or outside A.
        DataError: a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> A = og.MatrixOperator(torch.diag(torch.tensor([5.0, 4.0, 1.0, 1.0])))
        >>> found = og.block_curvature(A, {"top": torch.tensor([0, 1]), "rest": torch.tensor([2, 3])}, k=1)
        >>> [(row["block"], row["trace"], round(row["effective_rank"], 3)) for row in found.table()]
        [('top', 9.0, 1.976), ('rest', 2.0, 2.0)]
    """
    if k < 0 or steps < 0:
        raise ConfigurationError(f"`k` {k} and `steps` {steps} must be 0 or more.")
    coupled = couplings(operator, blocks, probes=probes, seed=seed, on_product=on_product)
    spectra, densities, spent = {}, {}, coupled.products
    for name, places in blocks.items():
        own = BlockOperator(operator, places)
        if k:
            told = renamed(on_product, f"spectrum {name}")
            held = max(1, min(k, own.size - 1))
            spectra[name] = lanczos(own, held, which="LA", tolerance=tolerance, seed=seed, on_product=told)
            spent += spectra[name].products
        if steps:
            told = renamed(on_product, f"density {name}")
            densities[name] = density(own, steps=min(steps, own.size), probes=probes, seed=seed, on_product=told)
            spent += densities[name].products
    return BlockCurvature(coupled, spectra, densities, spent)
