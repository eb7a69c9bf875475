"""What each recorded quantity is called for a reader, its unit, and the dimensions it has at one point.

Anything may be recorded; what is not listed here is called by its field name and must bring its dimensions.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A label for figures, a unit (`1` for pure numbers), and dimensions beyond those of the run."""

    long_name: str
    units: str = "1"
    dims: tuple[str, ...] = ()


COORDINATES = {
    "seed": Quantity("seed (model ID)"),
    "direction": Quantity("direction in which the ladder was gone"),
    "strength": Quantity("regularisation strength λ"),
    "eigen": Quantity("number of the eigenpair, in descending order of eigenvalue"),
    "parameter": Quantity("parameter, in the order of named_parameters()"),
    "class": Quantity("class"),
    "tensor": Quantity("parameter tensor"),
}

SCALARS = {
    "train_loss": Quantity("training loss L", "nat"),
    "objective": Quantity("objective L + λ‖θ − θ_ref‖²", "nat"),
    "test_loss": Quantity("test loss", "nat"),
    "train_accuracy": Quantity("training accuracy", "%"),
    "test_accuracy": Quantity("test accuracy", "%"),
    "class_accuracy": Quantity("test accuracy of a class", "%", ("class",)),
    "gradient_norm": Quantity("gradient norm ‖∇L‖"),
    "objective_gradient_norm": Quantity("gradient norm of the objective ‖∇L_eff‖"),
    "parameter_norm": Quantity("parameter norm ‖θ‖"),
    "anchor_distance": Quantity("distance from the anchor ‖θ − θ_ref‖"),
    "moved": Quantity("distance from the neighbouring point ‖θᵢ − θᵢ₋₁‖"),
    "frozen": Quantity("whether the point equals its neighbour"),
    "best_epoch": Quantity("epoch of the best state"),
    "epochs": Quantity("epochs trained"),
    "total_steps": Quantity("optimiser steps"),
    "products": Quantity("Hessian-vector products"),
    "noise_level": Quantity("noise of the Hessian-vector product"),
}

ARRAYS = {
    "theta": Quantity("parameters θ", dims=("parameter",)),
    "gradient": Quantity("gradient ∇L", dims=("parameter",)),
    "eigenvalue": Quantity("Hessian eigenvalue", dims=("eigen",)),
    "eigenvector": Quantity("Hessian eigenvector", dims=("eigen", "parameter")),
    "residual": Quantity("residual ‖Hv − λv‖", dims=("eigen",)),
    "bound": Quantity("eigenvector error bound ‖r‖/gap", dims=("eigen",)),
    "converged": Quantity("whether the pair has converged", dims=("eigen",)),
    "noise": Quantity("whether the eigenvalue is at noise level", dims=("eigen",)),
    "sign": Quantity("sign of the eigenvalue, 0 where none can be claimed", dims=("eigen",)),
    "class_share": Quantity("share of a class in an eigenvalue", dims=("class", "eigen")),
    "tensor_gradient_norm": Quantity("gradient norm of a parameter tensor", dims=("tensor",)),
}


def quantity(name: str) -> Quantity:
    """What is known of a scalar or an array; for an unknown name, the name in words."""
    return SCALARS.get(name) or ARRAYS.get(name) or Quantity(name.replace("_", " "))
