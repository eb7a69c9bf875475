"""The named models and their options. Imports nothing heavy: the command line lists them."""

MODELS: dict[str, tuple[str, ...]] = {
    "mlp": ("widths", "depth", "activation", "batch_norm"),
    "deep-linear": ("widths", "hidden_size", "depth"),
    "MLP1": ("hidden_size", "activation", "batch_norm"),
    "MLP2": ("hidden_size", "activation", "batch_norm"),
    "MLP3": ("hidden_size", "activation", "batch_norm"),
    "CNN": ("channels", "hidden_size", "activation", "batch_norm"),
    "ResNet": ("depth", "width_factor", "activation"),
}

NAMES = tuple(MODELS)

ACTIVATIONS = ("sigmoid", "relu", "gelu", "softplus", "tanh", "linear")
