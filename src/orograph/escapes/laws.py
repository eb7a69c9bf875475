"""Which law the rates of escape follow: Arrhenius, or a power law in the ratio of the losses.

With T = η/B, the learning rate by the batch size, and τ the mean time (steps times learning rate) that a state lasts,

    Arrhenius   log τ = a + b ΔL_eff/T                                          (Ersoy & Wiesner, arXiv 2606.17120)
    power law   log τ = a + b log(L_s/L_0)/T, so that τ ∝ (L_s/L_0)^(b/T)       (Mori et al., arXiv 2105.09557)

ΔL_eff = L_s − L_0 is the height of the saddle over the state. The first holds where the noise of the gradient is the same all the
way up, the second where it grows like the loss; b is 1 over the noise of the gradient there, and in the second 1 over the
curvature in the direction of escape. The exponent of Mori et al. has 1 − n/2 besides b/T, n being the number of large curvatures:
it is left out, since it is small beside b/T wherever a state lasts, and free it would stand for whatever depends on the strength.
What does (the curvatures of Kramers' prefactor) is in neither. Where L_s/L_0 is near 1 and L_0 the same in all cells, both laws
are one.

Both are fitted by maximum likelihood of exponential times, which is a Poisson count of the escapes with the log of the time that
chains were watched as its offset. They are held against each other by Akaike's criterion; the interval of its difference is that
of Vuong (1989), from how chains differ, widened where the cells scatter about the better law more than chance has it. Chains at
one barrier cannot tell them apart: both are then straight lines in 1/T.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import optimize, special, stats

from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.escapes.survival import LEVEL, require_times

LEAST = 4.0  # difference of Akaike's criterion from which a law is said to be the worse one (Burnham & Anderson 2002)
ARRHENIUS, POWER, UNDECIDED = "Arrhenius", "power law", "not told apart"
_QUANTILE = float(stats.norm.ppf((1 + LEVEL) / 2))


@brief
@dataclass(frozen=True, eq=False)
class Law:
    """One law, fitted.

    Attributes:
        coefficients: `a` and `b` of the formula above.
        margins: half of the 95 % interval of each, widened where cells scatter more than chance has it.
        log_likelihood: of all chains.
        aic: Akaike's criterion.
        dispersion: deviance by degree of freedom: near 1 where the law leaves nothing but chance, NaN where there is none.
        log_times: log τ of each cell by the law, `(m,)`.
    """

    coefficients: dict[str, float]
    margins: dict[str, float]
    log_likelihood: float
    aic: float
    dispersion: float
    log_times: Float[ndarray, " m"]


@brief
@dataclass(frozen=True, eq=False)
class Laws:
    """Both laws, and which of them is the better one.

    Attributes:
        arrhenius: the first.
        power: the second.
        cells: barrier, ratio and temperature of each cell, that is of all chains that have them in common, `(m, 3)`.
        difference: Akaike's criterion of the power law less that of Arrhenius: positive where Arrhenius is better.
        low: lower end of its 95 % interval.
        high: upper end.
        verdict: `Arrhenius` or `power law` where the difference is 4 at least and its interval holds no 0, else `not told apart`.
    """

    arrhenius: Law
    power: Law
    cells: Float[ndarray, "m 3"]
    difference: float
    low: float
    high: float
    verdict: str


def escape_laws(
    barriers: Float[ndarray, " n"],
    ratios: Float[ndarray, " n"],
    temperatures: Float[ndarray, " n"],
    times: Float[ndarray, " n"],
    escaped: Bool[ndarray, " n"],
) -> Laws:
    """Fits both laws to the times of chains, and compares them.

    Args:
        barriers: ΔL_eff that each chain has before it, `(n,)`.
        ratios: L_s/L_0 of each, `(n,)`.
        temperatures: learning rate by batch size of each, `(n,)`.
        times: of its escape, or until when it was watched, `(n,)`.
        escaped: which of the two, `(n,)`.

    Returns:
        Coefficients with their intervals, and the comparison.

    Raises:
        ConfigurationError: a barrier, temperature or time that is not positive, a ratio that is not above 1, or escapes at fewer
            than two values of barrier by temperature.

    Examples:
        >>> import numpy as np, orograph as og
        >>> barriers, temperatures = np.repeat([0.1, 0.2], 60), np.tile([0.03, 0.05, 0.1], 40)
        >>> times = np.random.default_rng(0).exponential(np.exp(2 + 1.5 * barriers / temperatures))
        >>> found = og.escapes.escape_laws(barriers, 1 + barriers, temperatures, times, times < np.inf)
        >>> assert abs(found.arrhenius.coefficients["b"] - 1.5) < found.arrhenius.margins["b"]
    """
    for name, values, above in (("barriers", barriers, 0.0), ("ratios", ratios, 1.0), ("temperatures", temperatures, 0.0)):
        wrong = values[~(np.isfinite(values) & (values > above))]
        if len(wrong):
            raise ConfigurationError(f"`{name}` must be finite and above {above:g}, and one is {wrong[0]:g}.")
    require_times(times, escaped)
    cells, which = np.unique(np.column_stack([barriers, ratios, temperatures]), axis=0, return_inverse=True)
    which = which.ravel()
    counts, exposures = (np.bincount(which, weights=each) for each in (escaped, times))
    plain = np.column_stack([np.ones(len(cells)), cells[:, 0] / cells[:, 2]])
    powers = np.column_stack([np.ones(len(cells)), np.log(cells[:, 1]) / cells[:, 2]])
    inside = counts > 0
    if _rank(plain[inside]) < 2:
        raise ConfigurationError(
            "laws of escape need chains that escaped at two values of barrier by temperature at least; give more steps, larger "
            "learning rates or smaller batches."
        )
    arrhenius = _fitted(plain, counts, exposures)
    power = _fitted(powers, counts, exposures)
    one, other = (_likelihoods(law.log_times[which], times, escaped) for law in (arrhenius, power))
    difference, apart = power.aic - arrhenius.aic, other - one
    scatter = np.fmax(1.0, min(arrhenius.dispersion, power.dispersion))
    margin = 2 * _QUANTILE * float(np.sqrt(len(apart) * apart.var() * scatter))
    low, high = difference - margin, difference + margin
    told = abs(difference) >= LEAST and low * high > 0
    verdict = (ARRHENIUS if difference > 0 else POWER) if told else UNDECIDED
    return Laws(arrhenius, power, cells, difference, low, high, verdict)


def _likelihoods(
    log_times: Float[ndarray, " n"], times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]
) -> Float[ndarray, " n"]:
    """The log likelihood of each exponential time."""
    return np.asarray(-(escaped * log_times) - times * np.exp(-log_times))


def _rank(design: Float[ndarray, "m 2"]) -> int:
    """Of the columns, whatever their units: existence of a maximum asks for it among the cells with escapes."""
    if len(design) < design.shape[1]:
        return len(design)
    return int(np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0), tol=1e-6))


def _fitted(design: Float[ndarray, "m 2"], escaped: Float[ndarray, " m"], exposures: Float[ndarray, " m"]) -> Law:
    """A law that is linear in log τ."""
    scales = np.abs(design).max(0)
    columns = design / scales

    def loss(w: ndarray) -> float:
        return float((escaped * (columns @ w) + exposures * np.exp(-columns @ w)).sum())

    def gradient(w: ndarray) -> ndarray:
        return np.asarray(columns.T @ (escaped - exposures * np.exp(-columns @ w)))

    def hessian(w: ndarray) -> ndarray:
        return np.asarray((columns.T * (exposures * np.exp(-columns @ w))) @ columns)

    weights = np.sqrt(escaped + 0.5)
    start = np.linalg.lstsq(columns * weights[:, None], weights * np.log(exposures / (escaped + 0.5)), rcond=None)[0]
    found = optimize.minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-9})
    logs = columns @ found.x
    expected = exposures * np.exp(-logs)
    deviance = 2 * float((special.xlogy(escaped, escaped / expected) - (escaped - expected)).sum())
    free = len(design) - design.shape[1]
    dispersion = deviance / free if free else np.nan
    errors = np.sqrt(np.diag(np.linalg.inv(hessian(found.x))) * np.fmax(1.0, dispersion)) / scales
    names = ("a", "b")
    likelihood = float((-escaped * logs - expected).sum())
    return Law(
        dict(zip(names, (found.x / scales).tolist(), strict=True)),
        dict(zip(names, (_QUANTILE * errors).tolist(), strict=True)),
        likelihood,
        2 * design.shape[1] - 2 * likelihood,
        dispersion,
        logs,
    )
