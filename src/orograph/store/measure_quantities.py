"""What the field's measures record of a point, as entries of the registry; in the order in which they are correlated."""

from orograph.store.quantities import Quantity as Q

MEASURES = {
    "off_diagonal_share": Q("share of tr H² between layers", short="between layers", role="metric", error=True),
    "largest_block_share": Q("largest eigenvalue of one layer's block, relative to λ_max", short="largest block", role="metric"),
    "learning_coefficient": Q("local learning coefficient", symbol="λ̂", role="metric", error=True),
    "quadratic_coefficient": Q("learning coefficient of the quadratic", short="λ̂ of quadratic", role="metric", error=True),
    "singularity": Q("learning coefficient less that of the quadratic", short="λ̂ beyond quadratic", role="metric", error=True),
    "sharpening_rate": Q("sharpening rate −∇λ_max·∇L", short="sharpening rate", role="metric"),
    "sharpness_gradient_norm": Q("norm of the gradient of λ_max", symbol="‖∇λ_max‖", role="metric"),
    "sharpening_oscillation": Q(
        "mean square of oscillations along v₁ that would hold λ_max", short="holding oscillation", role="metric"
    ),
    "sam_rise": Q("rise of the loss by SAM's step", "nat", short="SAM's rise", role="metric", error=True),
    "valley_asymmetry": Q("asymmetry of the valley along v₁", short="asymmetry", role="metric", error=True),
    "kfac_error": Q("error of KFAC for the Gauss–Newton matrix, in the operator norm", short="error of KFAC", role="metric"),
    "kfac_block_error": Q("error of KFAC for the blocks of layers alone", short="error of KFAC in blocks", role="metric"),
    "kfac_overlap": Q("overlap of the 5 largest eigenvectors of KFAC and Gauss–Newton", short="overlap of KFAC", role="metric"),
    "kfac_residual": Q("what residuals may add to an error of KFAC", short="residual"),
    "kfac_cut": Q("whether the 5th eigenvector cannot be told from the 6th", short="cut"),
    "kfac_products": Q("Gauss–Newton products of the audit of KFAC", short="products of KFAC"),
    "influence": Q("influence of a training class on the test loss of a class", "nat", ("training_class", "class")),
    "influence_own": Q("influence of training classes on their own test loss, mean", "nat", short="on own class"),
    "influence_other": Q("influence of training classes on the test loss of others, mean", "nat", short="on other classes"),
    "influence_polishing": Q("change of the test loss of a class by polishing, to first order", "nat", ("class",)),
    "influence_residual": Q("residual of the solve for the influence on a class", dims=("class",)),
    "influence_products": Q("Hessian products of the influence", short="products of influence"),
    "helpful_samples": Q("training samples without which the test loss would be largest", dims=("sample_rank",)),
    "helpful_rises": Q("what the test loss would rise by without them, to first order", "nat", ("sample_rank",)),
    "harmful_samples": Q("training samples without which the test loss would be smallest", dims=("sample_rank",)),
    "harmful_rises": Q("what the test loss would rise by without those, to first order", "nat", ("sample_rank",)),
    "training_class": Q("class of training samples"),
    "sample_rank": Q("rank among samples"),
    "sam_predicted": Q("rise of the loss by SAM's step, to second order", "nat", short="to second order"),
    "sam_radius": Q("length of SAM's step"),
    "valley_radius": Q("radius of the asymmetry"),
    "coefficient_step_bias": Q("what the step adds to the learning coefficient, of the quadratic", short="bias of step"),
    "coefficient_nbeta": Q("inverse temperature nβ of the learning coefficient", symbol="nβ"),
    "coefficient_localisation": Q("localisation γ of the learning coefficient", symbol="γ"),
    "coefficient_rhat": Q("R̂ of the chains of the learning coefficient", symbol="R̂"),
    "coefficient_draws": Q("independent draws that the chains are worth", short="draws"),
    "block": Q("layer"),
    "block_names": Q("layers"),
    "block_lambda_max": Q("largest eigenvalue of a layer's block of the Hessian", dims=("block",)),
    "block_lambda_max_residual": Q("residual of the largest eigenvalue of a layer's block", dims=("block",)),
    "block_trace": Q("trace of a layer's block of the Hessian", dims=("block",)),
    "block_trace_error": Q("standard error of the trace of a layer's block", dims=("block",)),
    "block_effective_rank": Q("effective rank of a layer's block, (tr)²/tr of the square", dims=("block",)),
    "block_kfac_error": Q("error of KFAC for a layer's block, in the operator norm", dims=("block",)),
}
MEASURE_TEXTS = frozenset({"block_names"})
MEASURE_MATRICES = frozenset({"influence"})
