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
    "lambda_first": Quantity("first recorded eigenvalue λ₁"),
    "lambda_last": Quantity("last recorded eigenvalue λ_k"),
    "noise_pairs": Quantity("recorded pairs at noise level"),
    "unconverged_pairs": Quantity("recorded pairs that have not converged"),
    "cut": Quantity("whether k splits a cluster of eigenvalues"),
    "hessian": Quantity("whose Hessian was decomposed"),
    "stopped": Quantity("why training ended"),
    "failed_epoch": Quantity("epoch in which the loss was not finite"),
    "polish_converged": Quantity("whether polishing reached a critical point"),
    "polish_products": Quantity("Hessian-vector products of polishing"),
    "polish_gradient_before": Quantity("gradient norm of the objective before polishing"),
    "polish_gradient_after": Quantity("gradient norm of the objective after polishing"),
    "polish_distance": Quantity("how far polishing moved θ"),
    "polish_objective_change": Quantity("change of the objective by polishing", "nat"),
    "claimed_train_loss": Quantity("training loss, as an imported table has it", "nat"),
    "claimed_objective": Quantity("objective, as an imported table has it", "nat"),
    "claimed_test_loss": Quantity("test loss, as an imported table has it", "nat"),
    "claimed_test_accuracy": Quantity("test accuracy, as an imported table has it", "%"),
    "claimed_gradient_difference": Quantity("distance of an imported gradient from the measured one"),
    "gap": Quantity("generalisation gap of the loss", "nat"),
    "accuracy_gap": Quantity("generalisation gap of the accuracy", "percentage points"),
    "lambda_max": Quantity("largest eigenvalue λ_max"),
    "flatness_measure": Quantity("flatness (− mean loss increase)", "nat"),
    "loss_increase": Quantity("mean loss increase around the minimum", "nat"),
    "sharpness_sampled": Quantity("ε-sharpness, largest sampled", "nat"),
    "sharpness_best_found": Quantity("sharpness, best found", "nat"),
    "noise_accuracy_drop": Quantity("drop of test accuracy under noise", "percentage points"),
    "participation_ratio": Quantity("participation ratio (tr H)²/tr H²"),
    "scaled_lambda_max": Quantity("‖θ‖²λ_max"),
    "scaled_trace": Quantity("‖θ‖² tr H"),
    "noise_level": Quantity("noise of the Hessian-vector product"),
    "scalar_curvature": Quantity("scalar curvature R of the graph of L"),
    "scalar_curvature_error": Quantity("standard error of the scalar curvature"),
    "scalar_curvature_top_k": Quantity("scalar curvature of the recorded pairs alone, R_top_k"),
    "trace": Quantity("trace of the Hessian"),
    "trace_error": Quantity("standard error of the trace"),
    "squared_trace": Quantity("trace of the squared Hessian"),
    "squared_trace_error": Quantity("standard error of the trace of the squared Hessian"),
    "certificate": Quantity("minimum, saddle, undecided, not converged, or no penalty"),
    "certified_gradient_norm": Quantity("gradient norm of the objective, computed for the certificate"),
    "gradient_norm_limit": Quantity("largest gradient norm of a critical point"),
    "gradient_norm_before_polishing": Quantity("gradient norm of the objective before polishing"),
    "lambda_min": Quantity("smallest eigenvalue of the Hessian of L_eff"),
    "lambda_min_residual": Quantity("residual of the smallest eigenvalue"),
    "lambda_min_noise": Quantity("noise of the products that gave it"),
    "index": Quantity("negative eigenvalues of the Hessian of L_eff"),
    "susceptibility": Quantity("susceptibility χ = −d‖θ − θ_ref‖²/dλ"),
    "susceptibility_residual": Quantity("relative residual of its linear system"),
    "response_norm": Quantity("norm of dθ/dλ"),
    "order_parameter": Quantity("order parameter ‖θ − θ_ref‖²"),
    "envelope_defect": Quantity("relative defect of dF/dλ = ‖θ − θ_ref‖² from the point below"),
    "step_length": Quantity("distance from the point below in λ"),
    "turning_angle": Quantity("angle between the step to a point and the step from it", "degree"),
    "outliers": Quantity("eigenvalues above the bulk edge"),
    "bulk_edge": Quantity("upper edge of the bulk of the spectrum"),
    "outliers_above_gap": Quantity("eigenvalues above the largest relative gap of the recorded pairs"),
    "class_mean_outlier_overlap": Quantity("mean squared projection of the outliers on the class means"),
    "cross_mean_outlier_overlap": Quantity("mean squared projection of the outliers on the cross-class means"),
    "share_defect_largest": Quantity("largest defect of the sum of class shares, relative to the largest eigenvalue"),
    "barrier_best": Quantity("barrier of L_eff between the two ways, at most", "nat"),
    "barrier_linear": Quantity("barrier of L_eff on the straight line between the two ways", "nat"),
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
    "class_gauss_newton": Quantity("Gauss–Newton part of a class's share in an eigenvalue", dims=("class", "eigen")),
    "share_defect": Quantity("sum of the class shares less the eigenvalue", dims=("eigen",)),
    "cluster": Quantity("first pair of the cluster that a pair belongs to, from 0", dims=("eigen",)),
    "sample_share": Quantity("share of a training sample in an eigenvalue", dims=("eigen", "sample")),
    "sample_participation": Quantity("effective number of samples that carry a direction", dims=("eigen",)),
    "top_image": Quantity("training images that carry a direction most", dims=("eigen", "image")),
    "top_image_share": Quantity("their shares in the eigenvalue", dims=("eigen", "image")),
    "class_gradient_norm": Quantity("gradient norm of a class's mean loss", dims=("class",)),
    "class_gradient_cosine": Quantity("cosine between the gradients of two classes", dims=("class", "other_class")),
    "class_gradient_total_cosine": Quantity("cosine between a class's gradient and ∇L", dims=("class",)),
    "class_mean_overlap": Quantity("squared projection of a pair on the class means of logit gradients", dims=("eigen",)),
    "cross_mean_overlap": Quantity("squared projection of a pair on the cross-class means", dims=("eigen",)),
    "train_class_accuracy": Quantity("training accuracy of a class", "%", ("class",)),
    "tensor_weight": Quantity("weight of a direction on a parameter tensor", dims=("eigen", "tensor")),
    "inverse_participation": Quantity("inverse participation ratio Σ v⁴ of a direction", dims=("eigen",)),
    "gradient_overlap": Quantity("squared cosine of a direction with ∇L", dims=("eigen",)),
    "anchor_overlap": Quantity("squared cosine of a direction with θ − θ_ref", dims=("eigen",)),
    "branch": Quantity("branch that a pair belongs to, −1 for none", dims=("eigen",)),
    "branch_overlap": Quantity("squared overlap with the branch's direction at the point below", dims=("eigen",)),
    "principal_angle": Quantity("principal angle with the span of the pairs at the point below", "degree", ("eigen",)),
    "trajectory": Quantity("θ on the principal components of its way", dims=("component",)),
    "gradient_trajectory": Quantity("∇L on the principal components of its way", dims=("component",)),
    "density_grid": Quantity("eigenvalue", dims=("grid",)),
    "density": Quantity("spectral density, normalised to 1", dims=("grid",)),
    "density_error": Quantity("standard error of the spectral density", dims=("grid",)),
}


def quantity(name: str) -> Quantity:
    """What is known of a scalar or an array; for an unknown name, the name in words."""
    return SCALARS.get(name) or ARRAYS.get(name) or Quantity(name.replace("_", " "))
