"""What LaTeX writes of words and numbers: formulas within words as mathematics, and digits as an error bar leaves them."""

import math
import re

_SIGNS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "ζ": r"\zeta", "η": r"\eta",
    "θ": r"\theta", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho",
    "σ": r"\sigma", "τ": r"\tau", "φ": r"\varphi", "χ": r"\chi", "ψ": r"\psi", "ω": r"\omega", "Γ": r"\Gamma",
    "Δ": r"\Delta", "Θ": r"\Theta", "Λ": r"\Lambda", "Σ": r"\sum", "Φ": r"\Phi", "Ψ": r"\Psi", "Ω": r"\Omega",
    "‖": r"\|", "∇": r"\nabla", "∂": r"\partial", "∫": r"\int", "∮": r"\oint", "∞": r"\infty", "−": "-", "±": r"\pm",
    "×": r"\times", "·": r"\cdot", "≤": r"\leq", "≥": r"\geq", "→": r"\to", "½": r"\frac{1}{2}", "ℓ": r"\ell",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀⁿ", "0123456789+-Tn", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ᵢⱼₖₙ", "0123456789+-ijkn", strict=True))
_HAT = "\u0302"
_FUNCTIONS = ("log", "ln", "exp", "min", "max")
_ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", **{c: f"\\{c}" for c in "&%$#_{}"}}
_PIECE = re.compile(
    rf"(?P<below>_[^\W_]+(?:_[^\W_]+)*)|(?P<raised>[{''.join(_RAISED)}]+)|(?P<lowered>[{''.join(_LOWERED)}]+)"
    rf"|(?P<hatted>\w{_HAT})|(?P<name>[A-Za-z]{{2,}})|(?P<space>\s+)|(?P<other>.)"
)
_OF_A_FORMULA = re.compile(rf"[{''.join([*_SIGNS, *_RAISED, *_LOWERED])}{_HAT}]|(?<!\w)[^\W\d_]_[^\W_]|^lr_\w|^[b-zA-Z]$|^\(?tr$")
_IDLE = re.compile(r"(\\[A-Za-z]+) (?![A-Za-z])")  # a space that ends a command which ends by itself
_JOINS = re.compile(r"^[=+/<>]$")  # what belongs to a formula between two parts of one
_PLAIN = 4  # digits of a number whose error is not known
_SMALLEST, _LARGEST = 1e-3, 1e5  # outside numbers are written as powers of ten


def in_latex(words: str) -> str:
    """Words for a cell or a caption, with formulas such as `‖∇L_eff‖` as mathematics and all else as it stands.

    Args:
        words: from the registry of quantities, or anybody's.

    Returns:
        LaTeX that needs no package: `$\\|\\nabla L_{\\mathrm{eff}}\\|$`.
    """
    tokens = words.split(" ")
    formula = [bool(_OF_A_FORMULA.search(token)) for token in tokens]
    for place, token in enumerate(tokens[1:-1], 1):
        formula[place] |= bool(_JOINS.match(token)) and formula[place - 1] and bool(_OF_A_FORMULA.search(tokens[place + 1]))
    told: list[str] = []
    place = 0
    while place < len(tokens):
        end = place + 1
        while end < len(tokens) and formula[end] == formula[place]:
            end += 1
        text = " ".join(tokens[place:end])
        told.append(_in_sentence(text) if formula[place] else escaped(text))
        place = end
    return " ".join(told)


def escaped(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_ESCAPED.get(letter, letter) for letter in text)


def _in_sentence(formula: str) -> str:
    """A formula, and outside of it the comma or the closing of a bracket that belongs to the sentence."""
    found = re.match(r"(?P<open>\(?)(?P<inner>.*?)(?P<close>[,;:]?)$", formula, re.DOTALL)
    assert found is not None
    before, inner, behind = found["open"], found["inner"], found["close"]
    if before and inner.count(")") > inner.count("("):  # a bracket that ends within
        before, inner = "", before + inner
    return f"{before}${_mathematics(inner)}${behind}"


def _mathematics(formula: str) -> str:
    told = []
    for found in _PIECE.finditer(formula):
        piece = found[0]
        match found.lastgroup:
            case "below":
                parts = piece[1:].split("_")
                told.append("_{" + r"\,".join(part if len(part) == 1 else rf"\mathrm{{{part}}}" for part in parts) + "}")
            case "raised":
                told.append("^{" + "".join(_RAISED[letter] for letter in piece) + "}")
            case "lowered":
                told.append("_{" + "".join(_LOWERED[letter] for letter in piece) + "}")
            case "hatted":
                told.append(rf"\hat{{{_SIGNS.get(piece[0], piece[0])}}}")
            case "name":
                told.append(rf"\{piece} " if piece in _FUNCTIONS else rf"\mathrm{{{piece}}}")
            case "space":
                told.append(r"\," if told and told[-1].startswith((r"\mathrm", "^")) else " ")
            case _:
                sign = _SIGNS.get(piece)
                told.append(_ESCAPED.get(piece, piece) if sign is None else f"{sign} " if sign[-1].isalpha() else sign)
    return _IDLE.sub(r"\1", "".join(told)).strip()


def number(value: float, error: float = math.nan) -> str:
    """A number as a cell writes it: with as many digits as its error bar leaves, with four where none is known.

    An error keeps two digits where it begins with 100 to 354, else one (Particle Data Group, Review, 5.3 of the introduction);
    the value ends where its error does.

    Args:
        value: NaN becomes a dash.
        error: its standard error, or standard deviation, ≥ 0.

    Returns:
        LaTeX that needs no package: `$0.83 \\pm 0.12$`, `$(1.2 \\pm 0.4) \\times 10^{-5}$`.
    """
    if math.isnan(value):
        return "--"
    if math.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    known = math.isfinite(error)
    size = max(abs(value), error if known else 0.0)
    power = math.floor(math.log10(size)) if size and not _SMALLEST <= size < _LARGEST else 0
    if power and known and error and round(size / 10.0**power, _decimals(error / 10.0**power)) >= 10:
        power += 1  # 9.8 that is rounded to 10
    scale = 10.0**power
    if not known or error == 0:
        text = _significant(value / scale) + (r" \pm 0" if known else "")
    else:
        decimals = _decimals(error / scale)
        text = rf"{_rounded(value / scale, decimals)} \pm {_rounded(error / scale, decimals)}"
    if not power:
        return f"${text}$"
    return rf"$({text}) \times 10^{{{power}}}$" if known else rf"${text} \times 10^{{{power}}}$"


def _decimals(error: float) -> int:
    """Where an error's last digit stands, negative before the point."""
    place = math.floor(math.log10(error))
    return (1 if error / 10.0**place < 3.55 else 0) - place


def _rounded(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    decimals = _PLAIN - 1 - math.floor(math.log10(abs(value)))
    return _rounded(value, decimals)
