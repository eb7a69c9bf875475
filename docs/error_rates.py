"""How often every test errs and every interval holds, on made-up families of known truth; writes the tables of the page.

.venv/bin/python docs/error_rates.py --page docs/error-rates.md

Families are drawn with fixed seeds, so that the same tables come out again. Smooth ones are power laws, logarithms,
exponentials and sigmoids that their ladder resolves, and the order parameter of a deep linear network below its fold; broken
ones have a jump, a kink, a pitchfork or a fold of stated size in them. Noise is none, white, correlated (0.7 between
neighbours), or the rounding of an accuracy over 200 samples.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orograph.analysis.series import passing
from orograph.geometry import correlate
from orograph.geometry.correlation import COEFFICIENTS
from orograph.ladder import ChangePoint, Way, change_points, class_relation, coincidences, envelope, judge, spinodal, zoom
from orograph.ladder.changes import repeat_noise
from orograph.ladder.identities import jumps_by_energy, jumps_by_response, kinks_by_response, merged
from orograph.ladder.resampling import autoregressions
from sections import insert, table

FAMILIES = 400
NOISES = ("none", "white", "correlated", "quantised")
SIZE = 0.01  # of noise, relative to the range of the curve


@dataclass(frozen=True)
class Rate:
    """How often something happened in families of one truth.

    Attributes:
        test: what was asked.
        truth: of the families.
        found: the share.
        families: how many.
        most, least: what is stated; None where nothing is.
    """

    test: str
    truth: str
    found: float
    families: int
    most: float | None = None
    least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the share is as stated, within two standard errors of it."""

        def error(stated: float) -> float:
            return 2 * math.sqrt(stated * (1 - stated) / self.families)

        if self.most is not None and self.found > self.most + error(self.most):
            return False
        return self.least is None or self.found >= self.least - error(self.least)


def unit(values: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    return (values - values.min()) / np.ptp(values)


def smooth_curve(draw: np.random.Generator, count: int) -> np.ndarray:
    """A curve without a transition, of range 1; lengths are in steps of the ladder."""
    place = np.arange(count)
    kind = draw.integers(5)
    if kind == 0:
        return unit((place + np.exp(draw.uniform(np.log(0.5), np.log(20)))) ** -draw.choice([0.5, 1.0, 2.0]))
    if kind == 1:
        return unit(np.exp(-place / np.exp(draw.uniform(np.log(2), np.log(count)))))
    if kind == 2:
        width, middle = np.exp(draw.uniform(np.log(1.5), np.log(count / 4))), draw.uniform(0.15, 0.85) * count
        return unit(1 / (1 + np.exp((place - middle) / width)))
    if kind == 3:
        return unit(-np.log(place + np.exp(draw.uniform(np.log(0.5), np.log(10)))))
    sigmas = draw.uniform(0.5, 1.5, 3)
    strengths = np.linspace(0, 0.97 * fold_of(sigmas.min()), count)
    return unit(sum(three_factors(strengths, sigma)[0] for sigma in sigmas))


def broken_curve(draw: np.random.Generator, count: int, kind: str, size: float) -> tuple[float, np.ndarray]:
    """A curve with one transition, and its place in steps; size relative to the range of the smooth part."""
    place = np.arange(count)
    at = int(draw.integers(count // 5, count - count // 5)) - 0.5
    base = unit(np.exp(-place / draw.uniform(count / 4, count)))
    if kind == "jump":
        return at, base - size * (place > at)
    if kind == "kink":
        return at, -0.5 * place / count - size * np.maximum(0, place - at) / count
    if kind == "pitchfork":
        return at, 0.3 * base + size * np.sqrt(np.maximum(0, at - place) / at)
    return at, 0.5 * base + size * np.where(place < at, 0.6 + 0.4 * np.sqrt(np.maximum(0, at - place) / at), 0)


def noisy(draw: np.random.Generator, values: np.ndarray, noise: str, size: float = SIZE) -> np.ndarray:
    """The curve with noise of a deviation relative to 1."""
    if noise == "quantised":
        return np.round(values * 200) / 200
    if noise == "none":
        return values
    return values + size * autoregressions(0.7 if noise == "correlated" else 0.0, 1, len(values), draw)[0]


def fold_of(sigma: float) -> float:
    """Where the outer branch of three factors ends."""
    return 0.375 * sigma * (sigma / 4) ** (1 / 3)


def three_factors(strengths: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, F and χ of a linear network of three factors, ½(σ − u³)² + 3λu² with u⁴ − σu + 2λ = 0; u = 0 beyond its fold."""
    u = np.full(len(strengths), sigma ** (1 / 3))
    for _ in range(200):  # the largest root, from above: Newton's steps fall towards it
        u = u - (u**4 - sigma * u + 2 * strengths) / (4 * u**3 - sigma)
    u = np.where(strengths < fold_of(sigma), u, 0.0)
    chi = np.where(u > 0, 12 * u / (4 * u**3 - sigma), 0.0)
    return 3 * u**2, (sigma - u**3) ** 2 / 2 + 3 * strengths * u**2, chi


def bath(strengths: np.ndarray, stiffness: float, height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, F and χ of one smooth mode ½a(y − c)² + λy²."""
    y = stiffness * height / (stiffness + 2 * strengths)
    return y**2, stiffness / 2 * (y - height) ** 2 + strengths * y**2, 4 * y**2 / (stiffness + 2 * strengths)


def smooth_branch(draw: np.random.Generator, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, F and χ of a branch of minima without a transition, in closed form: F = ∫q, χ = −dq/dλ."""
    step = strengths[1] - strengths[0]
    kind = draw.integers(4)
    if kind == 0:
        shift, power = step * np.exp(draw.uniform(np.log(0.5), np.log(20))), draw.choice([0.5, 2.0])
        x = strengths - strengths[0] + shift
        return x**-power, x ** (1 - power) / (1 - power), power * x ** (-power - 1)
    if kind == 1:
        length = step * np.exp(draw.uniform(np.log(1), np.log(30)))
        q = np.exp(-strengths / length)
        return q, -length * q, q / length
    if kind == 2:
        width, middle = step * np.exp(draw.uniform(np.log(1), np.log(8))), draw.uniform(strengths[5], strengths[-5])
        x = (strengths - middle) / width
        q = 1 / (1 + np.exp(x))
        return 1 + q, strengths + width * (x - np.logaddexp(0, x)), q * (1 - q) / width
    parts = [three_factors(strengths * 0.97 * fold_of(0.5) / strengths[-1], sigma) for sigma in (0.5, *draw.uniform(0.5, 1.5, 2))]
    scale = 0.97 * fold_of(0.5) / strengths[-1]
    q, energy, chi = (sum(part) for part in zip(*parts, strict=True))
    return q, energy / scale, chi * scale


def proven(strengths: np.ndarray, q: np.ndarray, energy: np.ndarray, chi: np.ndarray) -> tuple[ChangePoint, ...]:
    """Jumps that the identities prove, all points being minima."""
    steps = envelope(strengths.tolist(), energy.tolist(), q.tolist(), chi.tolist(), rounding=1e-12)
    return merged(jumps_by_energy(steps, q, chi), jumps_by_response(strengths, q, chi, [True] * len(q)))


def share(families: int, happened: Callable[[int, np.random.Generator], bool]) -> float:
    return sum(happened(index, np.random.default_rng(index)) for index in range(families)) / families


def searches(families: int) -> Iterator[Rate]:
    """One series: changes found where there are none, and those that are there."""

    def false(count: int, noise: str, seeds: int) -> Callable[[int, np.random.Generator], bool]:
        def one(index: int, draw: np.random.Generator) -> bool:
            curve = smooth_curve(draw, count)
            repeats = [noisy(draw, curve, noise) + 2 * draw.random() * (other > 0) for other in range(seeds)]
            known = repeat_noise(np.stack(repeats)) if seeds > 1 else 0.0
            return bool(change_points(np.arange(float(count)), repeats[0], noise=known, seed=index))

        return one

    for count in (31, 61):
        for noise in NOISES:
            found = share(families, false(count, noise, 1))
            yield Rate("a change of a series", f"smooth, {count} points, noise {noise}", found, families, most=0.01)
    for seeds in (2, 3, 5):
        found = share(families, false(31, "white", seeds))
        yield Rate("a change of a series", f"smooth, 31 points, noise white, {seeds} seeds", found, families, most=0.01)

    def true(kind: str, size: float, noise: str, deviation: float, seeds: int = 1) -> Callable[[int, np.random.Generator], bool]:
        def one(index: int, draw: np.random.Generator) -> bool:
            at, curve = broken_curve(draw, 41, kind, size)
            repeats = [noisy(draw, curve, noise, deviation) + 2 * draw.random() * (other > 0) for other in range(seeds)]
            known = repeat_noise(np.stack(repeats)) if seeds > 1 else 0.0
            found = change_points(np.arange(41.0), repeats[0], noise=known, seed=index)
            return any(abs(change.strength - at) <= 1 for change in found)

        return one

    cases = [("jump", size, noise, SIZE) for size in (0.05, 0.2) for noise in NOISES]
    cases += [(kind, size, "none", 0.0) for kind, size in (("kink", 0.5), ("kink", 2.0), ("pitchfork", 0.5), ("fold", 0.5))]
    cases += [(kind, 2.0, "white", 0.001) for kind in ("kink", "pitchfork")] + [("fold", 0.5, "white", SIZE)]
    for kind, size, noise, deviation in cases:
        truth = f"{kind} of {size:g}, noise {noise}" + (f" {deviation:g}" if noise in ("white", "correlated") else "")
        yield Rate("a change within a step", truth, share(families, true(kind, size, noise, deviation)), families)
    found = share(families, true("jump", 0.25, "white", SIZE, seeds=2))
    yield Rate("a change within a step", "jump of 0.25, noise white 0.01, a second seed lies higher", found, families)


def places(families: int) -> Iterator[Rate]:
    """The interval of a change's place."""
    for kind, size, deviation in (("jump", 0.2, 0.01), ("fold", 0.5, 0.01), ("kink", 2.0, 0.0005)):
        inside = []
        for index in range(families):
            draw = np.random.default_rng(index)
            at, curve = broken_curve(draw, 41, kind, size)
            found = change_points(np.arange(41.0), noisy(draw, curve, "white", deviation), seed=index)
            near = [change for change in found if abs(change.strength - at) <= 6]
            inside += [near[0].low <= at <= near[0].high] if near else []
        yield Rate("the place of a change", f"{kind} of {size:g} that was found", float(np.mean(inside)), len(inside), least=0.95)


def chains(families: int) -> Iterator[Rate]:
    """Twenty series of one chain, after Holm's rule."""

    def series(draw: np.random.Generator, index: int, jump: float) -> bool:
        found = {}
        for number in range(20):
            curve = smooth_curve(draw, 31) if number or not jump else broken_curve(draw, 31, "jump", jump)[1]
            values = noisy(draw, curve, NOISES[number % 4])
            found[str(number)] = change_points(np.arange(31.0), values, seed=index, tests=20)
        kept = passing(found)
        return bool(kept["0"]) if jump else any(kept.values())

    found = share(families, lambda index, draw: series(draw, index, 0.0))
    yield Rate("any change of twenty series", "all smooth, noises in turn", found, families, most=0.01)
    found = share(families, lambda index, draw: series(draw, index, 0.2))
    yield Rate("the one change of twenty series", "one has a jump of 0.2", found, families)


def identities(families: int) -> Iterator[Rate]:
    """Jumps that identities between critical points prove; they are no tests, and none may be false."""
    ladder = np.linspace(0.001, 0.031, 31)
    found = share(families, lambda index, draw: bool(proven(ladder, *smooth_branch(draw, ladder))))
    yield Rate("a jump by identity", "smooth branch of minima, 31 points", found, families, most=0.0)
    for part in (0.02, 0.1, 0.5):

        def fold(index: int, draw: np.random.Generator, part: float = part) -> bool:
            sigma = draw.uniform(0.5, 1.5)
            strengths = fold_of(sigma) * np.linspace(0.3, 1.3, 31) + draw.uniform(0, 0.02)
            at = fold_of(sigma)
            # A smooth mode beside it, of which the jump is a stated part.
            jump = 3 * (sigma / 4) ** (2 / 3)
            stiffness = at * draw.uniform(1, 4)
            height = math.sqrt(jump * (1 / part - 1)) * (1 + 2 * at / stiffness)
            both = [
                one + other
                for one, other in zip(three_factors(strengths, sigma), bath(strengths, stiffness, height), strict=True)
            ]
            return any(change.low <= at <= change.high for change in proven(strengths, *both))

        yield Rate("a jump by identity", f"fold whose jump is {part:g} of q", share(families, fold), families)
    for noise in (0.0, 0.01):

        def onset(index: int, draw: np.random.Generator, noise: float = noise) -> bool:
            sigma = draw.uniform(0.02, 0.04)  # two factors: q = 2(σ − 2λ) as long as that is positive
            chi = bath(ladder, 0.1, 1.0)[2] + 4 * (ladder < sigma / 2)
            values = chi * (1 + noise * draw.standard_normal(31))
            kinks = kinks_by_response(ladder, values, change_points(ladder, values, seed=index))
            return any(abs(kink.strength - sigma / 2) <= 0.001 for kink in kinks)

        truth = f"two factors vanish, χ known to {noise:g}"
        yield Rate("a kink by the susceptibility", truth, share(families, onset), families)


def orders(families: int) -> Iterator[Rate]:
    """Orders judged by inserted points, whatever the ladder took the change for; lengths in steps of the ladder."""
    ladder = [float(x) for x in range(31)]

    def judged(q: Callable[[float], float], at: float, kind: str) -> str:
        known = {x: q(x) for x in ladder}
        interval = (float(math.floor(at)), float(math.floor(at)) + 1.0)
        while (wanted := zoom(known, ladder, kind, interval, 1 / 32).wanted) is not None:
            known[wanted] = q(wanted)
        return judge(known, ladder, kind, interval).order

    def curve(draw: np.random.Generator, truth: str) -> tuple[float, Callable[[float], float]]:
        at, slope, size = draw.uniform(8, 22), draw.uniform(0.1, 1), draw.uniform(0.5, 3)
        width = np.exp(draw.uniform(np.log(0.25), np.log(2)))
        shapes: dict[str, Callable[[float], float]] = {
            "jump": lambda x: size * (x < at),
            "fold": lambda x: size * (0.6 + 0.4 * math.sqrt(max(0.0, at - x) / at)) * (x < at),
            "kink": lambda x: size * max(0.0, at - x),
            "root": lambda x: size * math.sqrt(max(0.0, at - x)),
            "steep": lambda x: 4 * size / (1 + math.exp((x - at) / width)),
        }
        return at, lambda x: 20 * slope * math.exp(-x / 20) + shapes[truth](x)

    for kind in ("jump", "kink"):
        for truth, order in (("jump", "first"), ("fold", "first"), ("kink", "second"), ("root", "second"), ("steep", "none")):
            right = share(families, lambda index, draw, t=truth, k=kind, o=order: judged(*curve(draw, t)[::-1], k) == o)  # type: ignore[misc]
            yield Rate(f"order judged as {order}", f"{truth}, seen as a {kind}", right, families)


def spinodals(families: int) -> Iterator[Rate]:
    """The bounds of a spinodal, from ladders of 1 to 25 % of its strength."""

    def fold(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        end, bend, skew = draw.uniform(0.5, 2), draw.uniform(0.3, 2), draw.uniform(-0.1, 0.6)
        d = np.linspace(0, 2.5, 20001)  # along the branch: λ = 1 − a(d² + sd³), λ_min = −2u dλ/du
        return 1 - bend * (d**2 + skew * d**3), 2 * (end + d) * bend * (2 * d + 3 * skew * d**2)

    def network(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        u = np.linspace(0.25 ** (1 / 3), 1, 20001)
        strengths = (u - u**4) / 2
        return strengths / strengths[0], -2 * u + 5 * u**4 + 2 * strengths

    def loss(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        d = np.linspace(0, 1, 20001)
        return 1 - d, d + draw.uniform(-0.4, 0.7) * d**2

    def hidden(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        d = np.linspace(0, 1, 20001)
        return 1 - d**2, np.minimum(4 * (1 + d) * d, draw.uniform(0.3, 3))

    for name, branch in (
        ("fold", fold),
        ("three factors", network),
        ("loss of symmetry", loss),
        ("fold under a stiffer mode", hidden),
    ):
        inside = []
        for index in range(families):
            draw = np.random.default_rng(index)
            strengths, lowest = branch(draw)
            step = np.exp(draw.uniform(np.log(0.01), np.log(0.25)))
            x = 1 - step * (draw.uniform(0.02, 1) + np.arange(3, -1, -1))
            y = np.interp(x, strengths[::-1], lowest[::-1])
            way = Way(energy=y, order=y, accuracy=y, objective_lambda_min=y, certificates=("minimum",) * 4)
            found = spinodal(x, way, 3, forward=True)
            inside += [found.low <= 1 <= found.high] if math.isfinite(found.estimate) else []
        yield Rate("the bounds of a spinodal", f"{name}, where they are given", float(np.mean(inside)), len(inside), least=1.0)


def along_ladders(families: int) -> Iterator[Rate]:
    """Coincidences of change points by circular shifts, and classes' steps by permuted blocks."""
    ladder = np.linspace(0, 1, 41)

    def together(index: int, draw: np.random.Generator) -> bool:
        sets = {
            name: [
                ChangePoint(float(x), float(x), float(x), "jump", 1.0, 0.0, 0.01)
                for x in draw.choice((ladder[1:] + ladder[:-1]) / 2, draw.integers(2, 5), replace=False)
            ]
            for name in ("a", "b")
        }
        return coincidences(sets, [("a", "b")], ladder)[0].p_value <= 0.05

    yield Rate(
        "coincidence at 5 %", "two to four changes each at random, 41 points", share(families, together), families, most=0.05
    )
    for count in (31, 101):
        for phi in (0.0, 0.5):

            def moves(index: int, draw: np.random.Generator, count: int = count, phi: float = phi) -> bool:
                steps = autoregressions(phi, 2, count - 1, draw)
                accuracy, part = (np.concatenate([[0.0], np.cumsum(each)]) for each in steps)
                return class_relation("c", np.arange(float(count)), accuracy, part, resamples=199, seed=index).p_value <= 0.05

            truth = f"independent, {count} points, steps correlated by {phi:g}"
            yield Rate("class relation at 5 %", truth, share(families, moves), families, most=0.05)


def correlations(families: int) -> Iterator[Rate]:
    """Correlations of a study: configurations trained from common seeds, whose effect is stated relative to theirs."""

    def study(draw: np.random.Generator, count: int, seeds: int, effect: float, rho: float, marginal: str) -> list[np.ndarray]:
        own = draw.standard_normal((2, count, 1))
        own[1] = rho * own[0] + math.sqrt(1 - rho**2) * own[1]
        values = own + effect * draw.standard_normal((2, 1, seeds)) + 0.3 * draw.standard_normal((2, count, seeds)) * (seeds > 1)
        if marginal == "skewed":
            values[0] = np.exp(values[0])
        if marginal == "quantised":
            values[1] = np.round(2 * values[1]) / 2
        return [each.ravel() for each in values]

    designs = [
        (12, 1, 0.0, "normal"),
        (5, 1, 0.0, "normal"),
        (8, 1, 0.0, "skewed"),
        (8, 1, 0.0, "quantised"),
        (40, 1, 0.0, "skewed"),
    ]
    designs += [(12, seeds, effect, "normal") for seeds, effect in ((2, 1.0), (3, 0.0), (3, 1.0), (3, 3.0), (5, 1.0))] + [
        (6, 3, 1.0, "quantised")
    ]
    for count, seeds, effect, marginal in designs:
        truth = f"independent, {marginal}, {count} × {seeds}, effect of a seed {effect:g}"
        yield from _coefficients(
            families, truth, lambda draw, d=(count, seeds, effect, 0.0, marginal): study(draw, *d), count, seeds, 0.0
        )  # type: ignore[misc]
    for count in (8, 12, 40):
        truth = f"correlation 0.8, {count} configurations"
        yield from _coefficients(families, truth, lambda draw, n=count: study(draw, n, 1, 0.0, 0.8, "normal"), count, 1, 0.8)  # type: ignore[misc]


def _coefficients(
    families: int, truth: str, made: Callable[[np.random.Generator], list[np.ndarray]], count: int, seeds: int, rho: float
) -> Iterator[Rate]:
    found = []
    for index in range(families):
        x, y = made(np.random.default_rng(index))
        clusters = np.repeat(np.arange(count), seeds).tolist() if seeds > 1 else None
        found.append(correlate(x, y, clusters=clusters, resamples=499, seed=index))
    true = {"pearson": rho, "spearman": 6 / math.pi * math.asin(rho / 2), "kendall": 2 / math.pi * math.asin(rho)}
    for kind in COEFFICIENTS:
        each = [getattr(one, kind) for one in found]
        rejected = float(np.mean([one.p_value <= 0.05 for one in each]))
        yield Rate(f"{kind} at 5 %", truth, rejected, families, most=None if rho else 0.05)
        # A constant column has neither; in so small a sample of a rounded quantity that happens.
        covered = [one.low <= true[kind] <= one.high for one in each if math.isfinite(one.low)]
        yield Rate(f"{kind}, 95 % interval", truth, float(np.mean(covered)), len(covered), least=0.95)


SECTIONS: dict[str, tuple[str, Callable[[int], Iterator[Rate]]]] = {
    "searches": ("One series", searches),
    "places": ("Where a change lies", places),
    "chains": ("Twenty series", chains),
    "identities": ("Identities", identities),
    "orders": ("Orders", orders),
    "spinodals": ("Spinodals", spinodals),
    "ladders": ("Coincidences and classes", along_ladders),
    "correlations": ("Correlations of a study", correlations),
}


def section(title: str, rates: Sequence[Rate]) -> str:
    """A heading and its table."""
    rows = []
    for each in rates:
        stated = (
            ""
            if each.most is None and each.least is None
            else f"at most {each.most:.0%}"
            if each.most is not None
            else f"{each.least:.0%}"
        )
        rows.append((each.test, each.truth, stated, f"{each.found:.1%}" + ("" if each.kept else " ✗"), str(each.families)))
    return f"## {title}\n\n{table(('what', 'in families that are', 'stated', 'found', 'families'), rows)}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--page", type=Path, default=Path("docs/error-rates.md"), help="the page to write into")
    options.add_argument("--families", type=int, default=FAMILIES, help="of each truth")
    options.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS), help="which tables")
    chosen = options.parse_args(arguments)
    broken = 0
    for name in chosen.only:
        title, rates = SECTIONS[name]
        found = list(rates(chosen.families))
        broken += sum(not each.kept for each in found)
        insert(chosen.page, name, section(title, found), title="How often the tests err")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
