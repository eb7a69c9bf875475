"""Words and numbers as LaTeX writes them: the rounding of the Particle Data Group by its own examples, formulas by hand."""

import math
import re

import pytest

from orograph.commands.typesetting import escaped, in_latex, number
from orograph.store.lookup import ENTRIES


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.827, 0.119, r"$0.83 \pm 0.12$"),  # the review's own two
        (0.827, 0.367, r"$0.8 \pm 0.4$"),
        (0.827, 0.0962, r"$0.83 \pm 0.10$"),  # 950 to 999 becomes 1000 and keeps two digits
        (12345.6, 321.0, r"$12350 \pm 320$"),
        (-1.5, 0.02, r"$-1.500 \pm 0.020$"),
        (0.0, 0.02, r"$0.000 \pm 0.020$"),
        (-0.001, 0.2, r"$0.00 \pm 0.20$"),  # no negative zero
        (1.2345e-5, 4e-7, r"$(1.23 \pm 0.04) \times 10^{-5}$"),
        (9.87e7, 2.2e6, r"$(9.87 \pm 0.22) \times 10^{7}$"),
        (9.8e-7, 6.9e-7, r"$(1.0 \pm 0.7) \times 10^{-6}$"),
        (9.8e-6, 2.2e-7, r"$(9.80 \pm 0.22) \times 10^{-6}$"),
        (1e-7, 6e-5, r"$(0 \pm 6) \times 10^{-5}$"),
        (0.5, 0.0, r"$0.5000 \pm 0$"),
        (0.123456, math.nan, "$0.1235$"),
        (99.996, math.nan, "$100.00$"),
        (2.5e-9, math.nan, r"$2.500 \times 10^{-9}$"),
        (0.0, math.nan, "$0$"),
        (math.nan, 0.1, "--"),
        (-math.inf, math.nan, r"$-\infty$"),
    ],
)
def test_an_error_bar_leaves_so_many_digits(value: float, error: float, expected: str) -> None:
    assert number(value, error) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("λ", r"$\lambda$"),
        ("λ_max", r"$\lambda_{\mathrm{max}}$"),
        ("λ_k", r"$\lambda_{k}$"),
        ("λ₁", r"$\lambda_{1}$"),
        ("λ̂", r"$\hat{\lambda}$"),
        ("R̂", r"$\hat{R}$"),
        ("R_top_k", r"$R_{\mathrm{top}\,k}$"),
        ("‖∇L_eff‖", r"$\|\nabla L_{\mathrm{eff}}\|$"),
        ("‖θ − θ_ref‖", r"$\|\theta - \theta_{\mathrm{ref}}\|$"),
        ("‖θ‖² tr H", r"$\|\theta\|^{2}\,\mathrm{tr}\,H$"),
        ("tr H²", r"$\mathrm{tr}\,H^{2}$"),
        ("ηλ_max(P⁻¹H)", r"$\eta\lambda_{\mathrm{max}}(P^{-1}H)$"),
        ("λ_min of L_eff", r"$\lambda_{\mathrm{min}}$ of $L_{\mathrm{eff}}$"),
        ("test L (nat)", "test $L$ (nat)"),
        ("test acc. (%)", r"test acc. (\%)"),
        ("my_run: 50 % & more", r"my\_run: 50 \% \& more"),
        ("a class #1 {x} ~ ^", r"a class \#1 \{x\} \textasciitilde{} \textasciicircum{}"),
        ("trace of the Hessian", "trace of the Hessian"),
        ("Bézier barrier", "Bézier barrier"),
        ("susceptibility χ = −d‖θ − θ_ref‖²/dλ", r"susceptibility $\chi = -d\|\theta - \theta_{\mathrm{ref}}\|^{2}/d\lambda$"),
        ("regularisation strength λ", r"regularisation strength $\lambda$"),
    ],
)
def test_formulas_within_words_are_mathematics(words: str, expected: str) -> None:
    assert in_latex(words) == expected


def test_every_word_of_the_registry_is_latex() -> None:
    known = [words for each in ENTRIES.values() for words in (each.long_name, f"{each.heading} ({each.units})")]
    for words in known:
        told = in_latex(words)
        outside = re.sub(r"\$[^$]*\$", "", told.replace(r"\$", ""))
        assert told.replace(r"\$", "").count("$") % 2 == 0
        assert all(ord(letter) < 0x370 or letter in "–—…’“”" for letter in told), told  # what a plain LaTeX typesets
        assert not re.search(r"(?<!\\)[_&%#^]", outside), told
        for formula in re.findall(r"\$([^$]*)\$", told):
            assert formula.count("{") == formula.count("}")
            assert formula.count("(") == formula.count(")"), told


def test_text_is_shown_as_it_is() -> None:
    assert escaped(r"a\b_c$") == r"a\textbackslash{}b\_c\$"
