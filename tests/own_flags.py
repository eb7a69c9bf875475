"""The small problems of `sweep/own_parts.py` as flags of a command, and the metrics that fit each."""

from pathlib import Path

PARTS = Path(__file__).parent / "sweep" / "own_parts.py"


def own(parts: Path = PARTS, **named: str) -> list[str]:
    """Flags that name parts of a file; a name with an equals sign is one of the program's own."""
    return [word for flag, name in named.items() for word in (f"--{flag}", name[1:] if name[0] == "=" else f"{parts}:{name}")]


KINDS = {
    "regression": own(model="regressor", data="curves", loss="=mse_loss", groups="sign"),
    "labels": own(model="regressor", data="labels", loss="=binary_cross_entropy_with_logits"),
    "language": own(model="Language", data="tokens", groups="length"),
    "mean": own(model="Language", data="tokens", loss="token_mean", groups="length"),
    "alone": own(model="regressor", data="curves_alone", loss="=mse_loss"),
}
METRICS = {
    "regression": ["r2", "rmse", "rmse_per_output"],
    "labels": ["exact_match", "mean_average_precision"],
    "language": ["token_accuracy", "perplexity"],
    "mean": ["token_accuracy", "perplexity"],
    "alone": ["r2", "rmse", "rmse_per_output"],
}
