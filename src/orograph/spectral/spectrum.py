"""Eigenpairs and what they certify: residuals, noise, clusters, eigenvector bounds, signs.

A computed pair (λ, v) of a symmetric operator H says no more than its residual ‖r‖ = ‖Hv − λv‖ and the operator's own noise
allow. There is an eigenvalue within ‖r‖ of λ (Weyl); the angle between v and its eigenvector is at most ‖r‖/gap (Davis &
Kahan 1970; Parlett 1998, theorem 11.7.1); pairs whose intervals λ ± ‖r‖ overlap cannot be told apart, so only the subspace
that they span together means anything.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from orograph.brief import brief

Cluster = tuple[int, int]


def find_clusters(
    eigenvalues: Float64[Tensor, " k"], radii: Float64[Tensor, " k"], skip: Bool[Tensor, " k"]
) -> tuple[Cluster, ...]:
    """Runs `(start, stop)` of two or more descending eigenvalues whose intervals λ ± radius overlap; pairs in `skip` belong
    to none."""
    linked = (eigenvalues[:-1] - eigenvalues[1:] <= radii[:-1] + radii[1:]) & ~skip[:-1] & ~skip[1:]
    clusters, start = [], 0
    for i, joined in enumerate([*linked.tolist(), False]):
        if not joined:
            if i > start:
                clusters.append((start, i + 1))
            start = i + 1
    return tuple(clusters)


def splits_cluster(
    eigenvalues: Float64[Tensor, " k"], radii: Float64[Tensor, " k"], skip: Bool[Tensor, " k"], others: Float64[Tensor, " n"]
) -> bool:
    """Whether one of the `others`, found but not wanted, lies within the radius of a pair: then the k pairs end inside a
    cluster."""
    if len(others) == 0:
        return False
    near = (eigenvalues[:, None] - others).abs() <= 2 * radii[:, None]
    return bool((near & ~skip[:, None]).any())


def eigenvector_bounds(
    eigenvalues: Float64[Tensor, " k"],
    residuals: Float64[Tensor, " k"],
    clusters: tuple[Cluster, ...],
    others: Float64[Tensor, " n"],
    doubts: Float64[Tensor, " n"] | float = 0.0,
) -> Float64[Tensor, " k"]:
    """The bound ‖r‖/gap on sin ∠(v, eigenvector), nan where there is none.

    The gap is the distance to the nearest other eigenvalue, less that one's residual. Members of a cluster have no
    eigenvector of their own. `others` are approximations of eigenvalues beyond the k pairs, `doubts` what they lack of that.
    """
    distance = (eigenvalues[:, None] - eigenvalues).abs() - residuals
    distance.fill_diagonal_(torch.inf)
    beyond = (eigenvalues[:, None] - others).abs() - doubts
    gap = torch.cat([distance, beyond], dim=1).amin(1)
    for start, stop in clusters:
        gap[start:stop] = 0.0
    bounds = residuals / gap
    return torch.where((gap > 0) & (bounds < 1), bounds, torch.nan)


def claimed_signs(eigenvalues: Float64[Tensor, " k"], margins: Float64[Tensor, " k"]) -> Int[Tensor, " k"]:
    """+1 or −1 where |λ| exceeds the margin (‖r‖ + noise), 0 where no sign can be claimed."""
    return torch.where(eigenvalues.abs() > margins, eigenvalues.sign(), 0.0).to(torch.int64)


@brief
@dataclass(frozen=True, eq=False)
class Spectrum:
    """k eigenpairs in descending algebraic order, with what is known of their quality. All but the eigenvectors is float64
    on the CPU.

    Attributes:
        eigenvalues: `(k,)`, λ, descending.
        eigenvectors: `(k, P)`, one unit vector a row, in the operator's dtype and on its device; the entry of largest magnitude
            is positive.
        residuals: `(k,)`, ‖Hv − λv‖, absolute, verified with true products (see `lanczos`).
        noise_level: η|λ₁|, absolute: below it the operator's own rounding decides what an eigenvalue is; nan when never
            measured.
        converged: `(k,)`, ‖r‖ ≤ tolerance·|λ|, or the pair is noise.
        noise: `(k,)`, |λ| ≤ noise_level.
        clusters: `(start, stop)` of runs of two or more pairs that cannot be told apart; compare these as subspaces.
        cut: the k pairs end inside a cluster that has further members, or copies of some are known to be missing and were not
            followed further. The subspace of a cluster is then known to the residuals of its members, and so are their values;
            what is missing may be larger than the last pairs. If not, none has been seen: further copies of the last value are
            not looked for, since they would change none of the values.
        bounds: `(k,)`, the bound ‖r‖/gap on the sine of the angle to the eigenvector; nan inside clusters and where the gap does
            not allow one.
        signs: `(k,)`, +1, −1, or 0 where |λ| ≤ ‖r‖ + noise and no sign is claimed.
        products: matrix–vector products spent, verification included.
        certificate_products: those of them that no pair needed: they sought missed copies, measured the noise or verified
            residuals.
        which: LM, LA, SA or BE.
        tolerance: what was asked of ‖r‖/|λ|.
        basis_bytes: what the Lanczos basis took in this process.
        searched: the search for missed copies of multiple eigenvalues has ended with its certificate. Where it was cut short
            (P > 5,000, or no product left) a residual shows nothing of copies that are missing.
        shared_size: P where products are shared among processes (`LinearOperator.group`) and `eigenvectors` are only this
            process's columns of them, else 0.

    Examples:
        >>> import torch, orograph as og
        >>> found = og.lanczos(og.MatrixOperator(torch.diag(torch.arange(1.0, 101.0))), k=3)
        >>> found.eigenvectors.shape, found.converged.all().item()
        (torch.Size([3, 100]), True)
    """

    eigenvalues: Float64[Tensor, " k"]
    eigenvectors: Float[Tensor, "k P"]
    residuals: Float64[Tensor, " k"]
    noise_level: float
    converged: Bool[Tensor, " k"]
    noise: Bool[Tensor, " k"]
    clusters: tuple[Cluster, ...]
    cut: bool
    bounds: Float64[Tensor, " k"]
    signs: Int[Tensor, " k"]
    products: int
    which: str
    tolerance: float
    basis_bytes: int = 0
    searched: bool = False
    shared_size: int = 0
    certificate_products: int = 0

    def fields(self) -> dict[str, Any]:
        """What is known of the pairs, without the eigenvectors.

        Returns:
            Plain values by name; of the pairs, lists of k in their order.
        """
        return {
            "which": self.which,
            "tolerance": self.tolerance,
            "noise_level": self.noise_level,
            "basis_bytes": self.basis_bytes,
            "clusters": [list(cluster) for cluster in self.clusters],
            "cut": self.cut,
            "copies_searched": self.searched,
            "eigenvalues": self.eigenvalues.tolist(),
            "residuals": self.residuals.tolist(),
            "converged": self.converged.tolist(),
            "noise": self.noise.tolist(),
        }

    @property
    def size(self) -> int:
        """P."""
        return self.shared_size or self.eigenvectors.shape[1]

    @property
    def holds_largest(self) -> bool:
        """Whether the first pair is λ_max: of `LM` only where it is positive, since a larger one would be larger in magnitude."""
        return self.which in ("LA", "BE") or (self.which == "LM" and int(self.signs[0]) > 0)

    @property
    def relative_residuals(self) -> Float64[Tensor, " k"]:
        """‖r‖/|λ|."""
        return self.residuals / self.eigenvalues.abs()


def certified(
    eigenvalues: Float64[Tensor, " k"],
    eigenvectors: Float[Tensor, "k P"],
    residuals: Float64[Tensor, " k"],
    *,
    tolerance: float,
    which: str,
    products: int,
    certificate_products: int = 0,
    missing: bool = False,
    noise_level: float = float("nan"),
    rounding: float = 0.0,
    others: Float64[Tensor, " n"] | None = None,
    doubts: Float64[Tensor, " n"] | float = 0.0,
    basis_bytes: int = 0,
    searched: bool = False,
    shared_size: int = 0,
) -> Spectrum:
    """What k pairs and their residuals certify.

    Args:
        eigenvalues: λ, descending.
        eigenvectors: one unit vector a row.
        residuals: ‖Hv − λv‖, of true products.
        tolerance, which, products, certificate_products, noise_level, basis_bytes, searched, shared_size: as a `Spectrum` has
            them.
        missing: copies are known to exist that are not among the pairs.
        rounding: of a product in the residuals' arithmetic; it widens the intervals λ ± ‖r‖.
        others: approximations of eigenvalues beyond the k pairs.
        doubts: their residuals, so far as they may be large.
    """
    others = eigenvalues.new_empty(0) if others is None else others
    noise = eigenvalues.abs() <= noise_level
    radii = residuals + rounding
    clusters = find_clusters(eigenvalues, radii, noise)
    return Spectrum(
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        residuals=residuals,
        noise_level=noise_level,
        converged=(residuals <= tolerance * eigenvalues.abs()) | noise,
        noise=noise,
        clusters=clusters,
        cut=missing or splits_cluster(eigenvalues, radii, noise, others),
        bounds=eigenvector_bounds(eigenvalues, residuals, clusters, others, doubts),
        signs=claimed_signs(eigenvalues, radii),
        products=products,
        which=which,
        tolerance=tolerance,
        basis_bytes=basis_bytes,
        searched=searched,
        shared_size=shared_size,
        certificate_products=certificate_products,
    )
