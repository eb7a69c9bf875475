"""The one registry of what is recorded: what each quantity is called for a reader, its symbol, its unit, its dimensions.

The store, relations, figures, reports and exports read it, and keep no names of their own. Where a name means different things in
different places of a record, the more exact entry is dotted: `barriers.train_loss` is found before `train_loss`. What only
`analysis.json` holds is in `summaries`. The order is the
one in which quantities are offered and correlated. Derivatives with respect to θ, which has no unit, are written without nat.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["", "metric", "target"]


@dataclass(frozen=True)
class Quantity:
    """What is known of a quantity beside its value.

    Attributes:
        long_name: for figures and tables that have room.
        units: `1` for pure numbers.
        dims: beyond those of the run.
        symbol: the formula by which it is known, `_` before what stands below the line: `λ_max`.
        short: words for a narrow heading, where there is no symbol that says it.
        role: `target` is a measure of generalisation, `metric` what is held against these.
        error: whether its standard error and half of its 95 % interval stand beside it, as `{name}_error` and `{name}_margin`.
        listed: its name where the values of all pairs or points are one list.
        by_class: whether an entry of the list is also told by the name of its class: `class_accuracy_cat`.
    """

    long_name: str
    units: str = "1"
    dims: tuple[str, ...] = ()
    symbol: str = ""
    short: str = ""
    role: Role = ""
    error: bool = False
    listed: str = ""
    by_class: bool = False

    @property
    def heading(self) -> str:
        """What fits above a column or into a legend."""
        return self.short or self.symbol or self.long_name


Q = Quantity

# Ways from one minimum to another, by the names of their barriers.
PATHS = {
    "linear": "straight line",
    "bezier": "Bézier curve",
    "chain": "polygonal chain",
    "band": "elastic band",
    "aligned": "line after matching",
}
_WORDS = {"bezier": "Bézier"}  # where the name is not how it is written

COORDINATES = {
    "seed": Q("seed (model ID)", short="seed"),
    "direction": Q("direction in which the ladder was gone", short="direction"),
    "strength": Q("regularisation strength λ", symbol="λ"),
    "L2_strength": Q("regularisation strength λ", symbol="λ"),
    "eigen": Q("number of the eigenpair, in descending order of eigenvalue", short="pair"),
    "parameter": Q("parameter, in the order of named_parameters()", short="parameter"),
    "class": Q("class"),
    "tensor": Q("parameter tensor"),
    "epoch": Q("epoch"),
    "step": Q("step of the training", short="step"),
    "tracked_epoch": Q("epoch at which curvature was tracked", short="epoch"),
    "pair": Q("pair of seeds", short="pair"),
    "configuration": Q("configuration"),
    "status": Q("what became of the point", short="status"),
    "ID": Q("seed, and the direction where it is down", short="ID"),
}

SETTINGS = {
    "model": Q("model"),
    "hidden_size": Q("width of the hidden layers", short="hidden size"),
    "depth": Q("depth"),
    "width_factor": Q("width factor"),
    "activation": Q("activation"),
    "batch_norm": Q("BatchNorm"),
    "optimizer": Q("optimiser"),
    "scheduler": Q("schedule of the learning rate", short="scheduler"),
    "lr": Q("learning rate", short="lr"),
    "weight_decay": Q("weight decay"),
    "momentum": Q("momentum"),
    "batch_size": Q("batch size"),
    "min_lr": Q("lowest learning rate of the schedule", short="min lr"),
    "parameters": Q("number of parameters", short="parameters"),
    "epochs": Q("epochs trained", short="ep."),
}

GENERALISATION = {
    "test_accuracy": Q("test accuracy", "%", short="test acc.", role="target"),
    "test_loss": Q("test loss", "nat", short="test L", role="target"),
    "gap": Q("generalisation gap of the loss, test less training", "nat", short="gap", role="target"),
    "train_accuracy": Q("training accuracy", "%", short="train acc."),
    "accuracy_gap": Q("generalisation gap of the accuracy", "percentage points", short="accuracy gap"),
    "test_margin": Q("mean margin of the test samples", short="test margin"),
    "class_accuracy": Q("test accuracy of a class", "%", ("class",), by_class=True),
}

# In the order in which they are correlated with generalisation.
METRICS = {
    "flatness_measure": Q("flatness (− mean loss increase)", "nat", short="flatness", role="metric"),
    "loss_increase": Q("mean loss increase around the minimum", "nat", short="loss increase", role="metric", error=True),
    "lambda_max": Q("largest eigenvalue λ_max", symbol="λ_max", role="metric"),
    "lambda_min": Q("smallest eigenvalue λ_min", symbol="λ_min", role="metric"),
    "trace": Q("trace of the Hessian", symbol="tr H", role="metric", error=True),
    "condition_number": Q("condition number λ_max/λ_min", role="metric"),
    "effective_rank_top_*": Q("effective rank of * pairs", role="metric"),
    "entropy_rank_top_*": Q("entropy rank of * pairs", role="metric"),
    "participation_ratio": Q("participation ratio (tr H)²/tr H²", short="participation ratio", role="metric", error=True),
    "frobenius_square": Q("trace of the squared Hessian, tr H²", symbol="tr H²", role="metric", error=True),
    "scalar_curvature": Q("scalar curvature R of the graph of L", symbol="R", role="metric", error=True),
    "finite_lambda_max": Q("curvature along v₁ at a finite radius", short="curvature along v₁", role="metric"),
    "finite_trace": Q("trace of the Hessian at a finite radius", short="tr H, finite radius", role="metric", error=True),
    "scaled_lambda_max": Q("scale-aware largest eigenvalue ‖θ‖²λ_max", symbol="‖θ‖²λ_max", role="metric"),
    "scaled_trace": Q("scale-aware trace ‖θ‖² tr H", symbol="‖θ‖² tr H", role="metric", error=True),
    "relative_flatness": Q("relative flatness of the last layer", short="relative flatness", role="metric", error=True),
    "fisher_rao_norm": Q("Fisher–Rao norm", role="metric"),
    "sharpness_sampled": Q("ε-sharpness, largest sampled", "nat", role="metric"),
    "sharpness_best_found": Q("ε-sharpness, best found", "nat", role="metric"),
    "adaptive_sharpness_sampled": Q("adaptive sharpness, largest sampled", "nat", role="metric"),
    "adaptive_sharpness_best_found": Q("adaptive sharpness, best found", "nat", role="metric"),
    "noise_loss_rise": Q("rise of the test loss under noise", "nat", role="metric", error=True),
    "noise_accuracy_drop": Q("drop of test accuracy under noise", "percentage points", role="metric", error=True),
    "noise_margin_drop": Q("drop of the test margin under noise", role="metric", error=True),
    "gradient_norm": Q("gradient norm ‖∇L‖", symbol="‖∇L‖", role="metric"),
    "parameter_norm": Q("parameter norm ‖θ‖", symbol="‖θ‖", role="metric"),
    "train_loss": Q("training loss L", "nat", short="train L", role="metric"),
    "train_margin": Q("mean margin of the training samples", short="train margin", role="metric"),
}

TRAINING = {
    "objective": Q("objective L + λ‖θ − θ_ref‖²", "nat", symbol="L_eff"),
    "objective_gradient_norm": Q("gradient norm of the objective ‖∇L_eff‖", symbol="‖∇L_eff‖"),
    "anchor_distance": Q("distance from the anchor ‖θ − θ_ref‖", symbol="‖θ − θ_ref‖"),
    "moved": Q("distance from the neighbouring point ‖θᵢ − θᵢ₋₁‖", short="moved"),
    "frozen": Q("whether the point equals its neighbour", short="frozen"),
    "best_epoch": Q("epoch of the best state"),
    "total_steps": Q("optimiser steps"),
    "stopped": Q("why training ended"),
    "failed_epoch": Q("epoch in which the loss was not finite"),
    "error": Q("why it failed"),
    "trained": Q("how many networks were trained in step"),
    "final_train_loss": Q("training loss L at the recorded state, where `train_loss` is a running mean", "nat"),
    "final_objective": Q("objective at the recorded state, where `objective` is a running mean", "nat"),
    "gradient_decay_rate": Q("slope of log‖∇L‖ over all epochs", "1/epoch"),
    "gradient_decay": Q("slope of log‖∇L‖ over the last epochs", "1/epoch"),
    "stability": Q("sharpness relative to the edge of plain gradient descent", symbol="ηλ_max/2"),
    "edge": Q("edge of stability, 1 + β"),
    "flow_sharpening": Q("change of λ_max by an epoch of gradient flow", short="by the flow"),
    "central_oscillation": Q(
        "mean square of oscillations along v₁ that the central flow foresees at the edge", short="σ² foreseen"
    ),
    "oscillation": Q("square of the distance from the middle of the valley along v₁", short="x² seen"),
    "preconditioned_lambda_max": Q("largest eigenvalue of the preconditioned Hessian", symbol="λ_max(P⁻¹H)"),
    "preconditioned_stability": Q("preconditioned sharpness, relative to its edge", symbol="ηλ_max(P⁻¹H)"),
    "critical_sharpness": Q("critical sharpness of the update, 2/lr_c", symbol="λ_c"),
    "critical_lr": Q("smallest learning rate at which the update raises the loss", symbol="lr_c"),
    "critical_steps": Q("least multiple of the update that raises the loss"),
    "critical_passes": Q("evaluations of the loss for the critical sharpness"),
    "batch_loss": Q("loss of the step's batch", "nat", short="batch loss"),
    "update_norm": Q("norm of the last update ‖Δθ‖", symbol="‖Δθ‖"),
    "history.loss": Q("running mean of the training loss", "nat"),
    "history.objective": Q("running mean of the objective", "nat"),
    "history.lambda_max": Q("largest eigenvalue of the Hessian of what is minimised", symbol="λ_max"),
    "polish_converged": Q("whether Newton's method reached a critical point"),
    "polish_products": Q("Hessian-vector products of polishing, and of following a branch"),
    "polish_gradient_before": Q("gradient norm of the objective before polishing"),
    "polish_gradient_after": Q("gradient norm of the objective after polishing"),
    "polish_distance": Q("how far polishing moved θ"),
    "polish_objective_change": Q("change of the objective by polishing", "nat"),
    "polish_negative_curvature": Q("whether polishing met negative curvature"),
    "branch_kept": Q("whether the point was reached along the branch of its neighbour", short="same branch"),
    "branch_strength": Q("strength up to which that branch was followed"),
    "branch_parts": Q("steps into which the way along the branch was divided"),
    "branch_predicted": Q("length of the predictions along the branch"),
    "branch_corrected": Q("how far Newton's method moved what was predicted"),
    "branch_angle": Q("angle between the step from the neighbour and its branch's direction there", "degree"),
    "branch_curvature": Q("curvature of L_eff along the last prediction, 0 at a fold"),
    "claimed_train_loss": Q("training loss, as an imported table has it", "nat"),
    "claimed_objective": Q("objective, as an imported table has it", "nat"),
    "claimed_test_loss": Q("test loss, as an imported table has it", "nat"),
    "claimed_test_accuracy": Q("test accuracy, as an imported table has it", "%"),
    "claimed_gradient_difference": Q("distance of an imported gradient from the measured one"),
    "candidates": Q("learning rates tried", dims=("candidate",)),
    "chosen": Q("learning rate chosen", short="learning rate"),
    "held_out_accuracy": Q("accuracy on the held-out images", "%", ("candidate",)),
    "held_out_loss": Q("loss on the held-out images", "nat", ("candidate",)),
    "held_out_images": Q("images held out from training"),
    "training_images": Q("images trained on"),
}

SPECTRUM = {
    "eigenvalue": Q("Hessian eigenvalue", short="spectrum", dims=("eigen",), listed="eigenvalues"),
    "eigenvector": Q("Hessian eigenvector", dims=("eigen", "parameter"), listed="eigenvectors"),
    "residual": Q("residual ‖Hv − λv‖", dims=("eigen",), listed="residuals"),
    "bound": Q("eigenvector error bound ‖r‖/gap", dims=("eigen",)),
    "converged": Q("whether the pair has converged", dims=("eigen",)),
    "noise": Q("whether the eigenvalue is at noise level", dims=("eigen",)),
    "sign": Q("sign of the eigenvalue, 0 where none can be claimed", dims=("eigen",)),
    "lambda_first": Q("first recorded eigenvalue λ₁", symbol="λ₁"),
    "lambda_last": Q("last recorded eigenvalue λ_k", symbol="λ_k"),
    "noise_level": Q("noise of the Hessian-vector product"),
    "noise_pairs": Q("recorded pairs at noise level"),
    "unconverged_pairs": Q("recorded pairs that have not converged"),
    "clusters": Q("pairs that cannot be told apart, first and one past the last", dims=("cluster", "ends")),
    "cut": Q("whether k splits a cluster of eigenvalues"),
    "copies_searched": Q("whether a search has shown that no copy of a multiple eigenvalue is missing"),
    "finite_lambda_first": Q("curvature along the first recorded pair at a finite radius"),
    "finite_lambda_last": Q("curvature along the last recorded pair at a finite radius"),
    "finite_lambda_min": Q("curvature along the direction of λ_min at a finite radius", short="curvature along λ_min"),
    "hessian": Q("whose Hessian was decomposed"),
    "which": Q("which end of the spectrum was asked for"),
    "tolerance": Q("tolerance of ‖Hv − λv‖/|λ|"),
    "products": Q("Hessian-vector products", short="products"),
    "lambda_max_residual": Q("residual of the largest eigenvalue"),
    "lambda_min_residual": Q("residual of the smallest eigenvalue"),
    "negative_eigenvalues": Q("negative eigenvalues of the Hessian of L", short="negative eigenvalues"),
    "negative_eigenvalues_lower_bound": Q("whether there may be more negative eigenvalues"),
    "density_grid": Q("eigenvalue", dims=("grid",)),
    "density": Q("spectral density, normalised to 1", dims=("grid",), listed="density_values"),
    "density_error": Q("standard error of the spectral density", dims=("grid",), listed="density_errors"),
    "density_probes": Q("chains of the spectral density"),
    "density_steps": Q("steps of each chain of the spectral density"),
    "entropy_rank": Q("entropy rank of the whole spectrum", short="entropy rank", error=True),
    "outliers": Q("eigenvalues above the bulk edge", short="outliers"),
    "bulk_edge": Q("upper edge of the bulk of the spectrum"),
    "outlier_gap": Q("largest ln(λᵢ/λᵢ₊₁) between neighbouring pairs"),
    "outliers_lower_bound": Q("whether there may be more outliers"),
    "outliers_beyond_classes": Q("outliers less C − 1"),
    "basis_bytes": Q("memory of the Lanczos basis", "byte"),
    "method": Q("how products were computed"),
    "plan": Q("how the work was cut into chunks"),
    "smooth": Q("whether the loss is twice differentiable in θ", short="smooth"),
    "kink": Q("parameter by which the loss has a kink at θ itself"),
}

MINIMUM = {
    "loss": Q("loss L over the given data", "nat", symbol="L"),
    "samples": Q("number of samples"),
    "averaged_over": Q("what the loss averages over: samples, or all values of a batch"),
    "condition_number_note": Q("why there is no condition number"),
    "finite_eigenvalues": Q("curvature along each direction at a finite radius", dims=("eigen",)),
    "finite_radius": Q("radius of the curvature along eigenvectors"),
    "finite_trace_radius": Q("radius of the trace at a finite radius"),
    "sharpness_even": Q("mean of [L(θ+u) + L(θ−u)]/2 − L", "nat", error=True),
    "sharpness_odd": Q("root mean square of [L(θ+u) − L(θ−u)]/2", "nat", error=True),
    "sharpness_start": Q("from where the best ascent began"),
    "adaptive_sharpness_start": Q("from where the best adaptive ascent began"),
    "loss_increase_by_radius": Q("mean loss increase at a radius", "nat", ("radius",)),
    "loss_increase_radii": Q("radii of the loss increase, relative to ‖θ‖", dims=("radius",)),
    "relative_flatness_layer": Q("layer of the relative flatness"),
    "failures.*": Q("why * was not measured"),
    "measured.level": Q("how carefully it was measured"),
    "measured.images": Q("images it was measured on"),
    "measured.of": Q("images of the training set"),
    "measured.pairs": Q("pairs of perturbations for the sharpness"),
    "measured.ascent": Q("gradients of an ascent"),
    "measured.around": Q("perturbations at each radius of the loss increase"),
    "measured.probes": Q("probes of the trace, at most"),
    "measured.rows": Q("probes of the relative flatness"),
    "measured.finite": Q("eigenvectors along which curvature was taken at a finite radius"),
    "products.spent": Q("Hessian-vector products spent"),
    "products.limit": Q("Hessian-vector products allowed"),
    "products.parts.*": Q("Hessian-vector products of *"),
    "products.cut.*": Q("how * was cut short"),
}

BETWEEN = {
    **{
        f"{name}_barrier": Q(f"barrier of the training loss, {way}", "nat", short=f"{_WORDS.get(name, name)} barrier")
        for name, way in PATHS.items()
    },
    "distance": Q("distance of the two minima", short="distance"),
    "cosine": Q("cosine between the two minima", short="cosine"),
    "disagreement": Q("test images on which the two networks disagree", "%", short="disagreement"),
    "disagreement_from_first": Q("disagreement with the first along the line", "%", ("position",)),
    "disagreement_from_second": Q("disagreement with the second along the line", "%", ("position",)),
    "member_accuracies": Q("test accuracy of each network", "%", ("member",)),
    "ensemble_accuracy": Q("test accuracy of the ensemble", "%", short="ensemble acc."),
    "ensemble_gain": Q("what the ensemble gains over the mean of its networks", "percentage points", short="ensemble gain"),
    "ensemble_loss": Q("test loss of the ensemble", "nat"),
    "seeds": Q("seeds of the networks", dims=("member",)),
    "barriers.train_loss": Q("barrier of the training loss", "nat", short="train L barrier"),
    "barriers.test_loss": Q("barrier of the test loss", "nat", short="test L barrier"),
    "barriers.train_error": Q("barrier of the training error", "percentage points", short="train error barrier"),
    "barriers.test_error": Q("barrier of the test error", "percentage points", short="test error barrier"),
    "barriers.objective": Q("barrier of L_eff", "nat"),
    "barriers.published": Q("largest test loss on the way less the smaller of its ends", "nat"),
    "barriers.largest_test_loss": Q("largest test loss on the way", "nat", short="largest test L"),
    "positions": Q("position along the path", dims=("position",)),
    "gradients": Q("gradients that the path took"),
    "controls": Q("control points of the path"),
    "moved_units": Q("units that matching moved"),
    "units": Q("units that could be moved"),
    "aligned.distance": Q("distance of the two minima after matching"),
    "bezier_bend": Q("inner control point of the Bézier curve", dims=("bend", "parameter")),
    "directions": Q("what spans the plane"),
    "radius": Q("how far the plane reaches, relative to ‖θ‖"),
    "points": Q("points of a side of the plane"),
    "direction_cosine": Q("cosine between the two directions of the plane"),
    "highest_train_loss": Q("highest training loss on the plane", "nat"),
    "lowest_train_loss": Q("lowest training loss on the plane", "nat"),
    "path_leaves_plane": Q("how far the path leaves the plane, relative to the distance of its ends"),
    "x": Q("distance along the first direction"),
    "y": Q("distance along the second direction"),
    "marks": Q("where the minima lie on the plane"),
    "path": Q("the path between the first two minima, on the plane"),
    "profile_x": Q("distance along a direction"),
    "profile_train_loss": Q("training loss along the two directions", "nat"),
    "profile_test_loss": Q("test loss along the two directions", "nat"),
}

ANALYSIS = {
    "of": Q("which point it was computed from"),
    "settings.*": Q("setting * of the analysis"),
    "scalar_curvature_top_k": Q("scalar curvature of the recorded pairs alone, R_top_k", symbol="R_top_k"),
    "certificate": Q("minimum, saddle, undecided, not converged, or no penalty", short="certificate"),
    "certificate_products": Q("Hessian-vector products of the certificate"),
    "certified_gradient_norm": Q("gradient norm of the objective, computed for the certificate", symbol="‖∇L_eff‖"),
    "gradient_norm_limit": Q("largest gradient norm of a critical point", short="limit"),
    "objective_lambda_min": Q("smallest eigenvalue of the Hessian of L_eff", symbol="λ_min of L_eff"),
    "objective_lambda_min_residual": Q("residual of the smallest eigenvalue of L_eff", short="residual"),
    "objective_lambda_min_noise": Q("noise of the products that gave the smallest eigenvalue of L_eff"),
    "objective_negative_eigenvalues": Q("negative eigenvalues of the Hessian of L_eff", short="negative"),
    "objective_negative_eigenvalues_lower_bound": Q("whether L_eff may have more negative eigenvalues", short="or more"),
    "index_products": Q("Hessian-vector products of the smallest eigenvalues of L_eff"),
    "susceptibility": Q("susceptibility χ = −d‖θ − θ_ref‖²/dλ", symbol="χ"),
    "susceptibility_residual": Q("relative residual of its linear system"),
    "susceptibility_converged": Q("whether its linear system was solved"),
    "susceptibility_negative_curvature": Q("whether its linear system met negative curvature"),
    "susceptibility_products": Q("Hessian-vector products of the susceptibility"),
    "response_norm": Q("norm of dθ/dλ"),
    "response_curvature": Q("curvature of L_eff along dθ/dλ"),
    "finite_response_curvature": Q("curvature of L_eff along dθ/dλ at a finite radius"),
    "finite_objective_lambda_min": Q("curvature of L_eff along the direction of its λ_min at a finite radius"),
    "order_parameter": Q("order parameter ‖θ − θ_ref‖²", symbol="q"),
    "envelope_defect": Q("relative defect of dF/dλ = ‖θ − θ_ref‖² from the point below", short="defect"),
    "step_length": Q("distance from the point below in λ"),
    "turning_angle": Q("angle between the step to a point and the step from it", "degree"),
    "outliers_above_gap": Q("eigenvalues above the largest relative gap of the recorded pairs"),
    "outliers_above_gap_beyond_classes": Q("eigenvalues above the largest relative gap, less C − 1"),
    "class_mean_outlier_overlap": Q("mean squared projection of the outliers on the class means"),
    "cross_mean_outlier_overlap": Q("mean squared projection of the outliers on the cross-class means"),
    "share_defect_largest": Q("largest defect of the sum of class shares, relative to the largest eigenvalue"),
    "barrier_best": Q(
        "barrier of L_eff at the positions of the lowest path found, an estimate", "nat", short="lowest barrier found"
    ),
    "barrier_linear": Q("barrier of L_eff on the straight line between the two ways", "nat"),
    "barrier_bezier": Q("barrier of L_eff on the Bézier curve between the two ways", "nat"),
    "barrier_band": Q("barrier of L_eff on the elastic band between the two ways", "nat"),
    "barrier_distance": Q("distance between the two ways"),
}

ARRAYS = {
    "theta": Q("parameters θ", dims=("parameter",)),
    "gradient": Q("gradient ∇L", dims=("parameter",)),
    "class_share": Q("contribution of a class to an eigenvalue", dims=("class", "eigen")),
    "tensor_gradient_norm": Q("gradient norm of a parameter tensor", dims=("tensor",)),
    "gradient_counts": Q("entries of the gradient by magnitude", dims=("magnitude",)),
    "class_gauss_newton": Q("Gauss–Newton part of a class's share in an eigenvalue", dims=("class", "eigen")),
    "share_defect": Q("sum of the class shares less the eigenvalue", dims=("eigen",)),
    "cluster": Q("first pair of the cluster that a pair belongs to, from 0", dims=("eigen",)),
    "sample_share": Q("share of a training sample in an eigenvalue", dims=("eigen", "sample")),
    "sample_participation": Q("effective number of samples that carry a direction", dims=("eigen",)),
    "top_image": Q("training images that carry a direction most", dims=("eigen", "image")),
    "top_image_share": Q("their shares in the eigenvalue", dims=("eigen", "image")),
    "class_gradient_norm": Q("gradient norm of a class's mean loss", dims=("class",)),
    "class_gradient_cosine": Q("cosine between the gradients of two classes", dims=("class", "other_class")),
    "class_gradient_total_cosine": Q("cosine between a class's gradient and ∇L", dims=("class",)),
    "class_mean_overlap": Q("squared projection of a pair on the class means of logit gradients", dims=("eigen",)),
    "cross_mean_overlap": Q("squared projection of a pair on the cross-class means", dims=("eigen",)),
    "train_class_accuracy": Q("training accuracy of a class", "%", ("class",), by_class=True),
    "tensor_weight": Q("weight of a direction on a parameter tensor", dims=("eigen", "tensor")),
    "inverse_participation": Q("inverse participation ratio Σ v⁴ of a direction", dims=("eigen",)),
    "gradient_overlap": Q("squared cosine of a direction with ∇L", dims=("eigen",)),
    "anchor_overlap": Q("squared cosine of a direction with θ − θ_ref", dims=("eigen",)),
    "branch": Q("branch that a pair belongs to, −1 for none", dims=("eigen",)),
    "branch_overlap": Q("squared overlap with the branch's direction at the point below", dims=("eigen",)),
    "principal_angle": Q("principal angle with the span of the pairs at the point below", "degree", ("eigen",)),
    "trajectory": Q("θ on the principal components of its way", dims=("component",)),
    "gradient_trajectory": Q("∇L on the principal components of its way", dims=("component",)),
}

# What is a text, or a mapping that tables leave out; all else without dimensions is a number.
TEXTS = frozenset(
    {
        *("status", "direction", "ID", "configuration", "pair", "model", "activation", "optimizer", "scheduler"),
        *("stopped", "error", "trained", "hessian", "which", "method", "plan", "of", "certificate", "directions"),
        *("condition_number_note", "sharpness_start", "adaptive_sharpness_start", "relative_flatness_layer"),
    }
)
MAPPINGS = frozenset({"products"})  # a number at a point, in a study one of each part

QUANTITIES = COORDINATES | GENERALISATION | METRICS | TRAINING | SPECTRUM | MINIMUM | BETWEEN | ANALYSIS | ARRAYS | SETTINGS
