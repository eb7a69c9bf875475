"""What is recorded along branches of critical points alone, as entries of the registry."""

from orograph.store.quantities import Quantity as Q

BRANCHES = {
    "branch_name": Q("branch", short="branch"),
    "point": Q("point of the branch", short="point"),
    "event": Q("event of the branch", short="event"),
    "event_kind": Q("what the event is: fold, turn, branch or end", short="event"),
    "lowest_mode": Q("number of the eigenvalue, from the lowest"),
    "eigenvalue_of_objective": Q("eigenvalue of the Hessian of L_eff", short="eigenvalue"),
    "excess": Q("L_eff less its chord in λ", "nat"),
    "arclength": Q("arclength s of the branch in (θ, λ)", symbol="s"),
    "strength_rate": Q("dλ/ds, whose sign changes at a fold", symbol="dλ/ds"),
    "tangent_cosine": Q("cosine of the angle between the tangent and that of the point before", short="cosine of tangents"),
    "next_step": Q("length of the next step in s", short="next step"),
    "lowest_eigenvalues": Q("lowest eigenvalues of the Hessian of L_eff, symmetries left out", dims=("lowest_mode",)),
    "after": Q("point that an event follows", short="after"),
    "event_eigenvalue": Q("eigenvalue of the Hessian of L_eff that is nearest to zero at the event", short="eigenvalue"),
    "kernel_size": Q("directions that the Hessian of L_eff maps to zero", short="kernel"),
    "branches": Q("branches that leave the event"),
    "ended": Q("why the branch ends", short="ended"),
    "stretch": Q("stretch of critical points of one index", short="stretch"),
    "work": Q("∫ q dλ along the branch from its first point", "nat", short="∫ q dλ"),
    "first_stretch": Q("stretch of a branch that it leaves, or the first of two", short="one"),
    "second_stretch": Q("stretch of a branch that it arrives at, or the second of two", short="other"),
    "certified": Q("whether the critical points at both ends met their tolerance", short="certified"),
    "latent": Q("q of the first less q of the second: the jump of dL_eff/dλ", short="latent"),
    "height": Q("L_eff of the saddle less that of the minimum", "nat", short="height"),
    "descent_side": Q("side of the unstable direction"),
    "likeness": Q("same: that very point; image: one with its L and q"),
    "arrives_objective": Q("L_eff where the descent ends", "nat"),
    "arrives_order_parameter": Q("‖θ − θ_ref‖² where the descent ends"),
    "reached_strength": Q("λ to which the minimum of a descent was carried", dims=("reached",)),
    "reached_order_parameter": Q("‖θ − θ_ref‖² of the minimum there", dims=("reached",)),
    "reached_train_loss": Q("L of the minimum there", "nat", dims=("reached",)),
    "first_theta": Q("θ on the first stretch", dims=("parameter",)),
    "second_theta": Q("θ on the second stretch", dims=("parameter",)),
    "tangent": Q("unit tangent of the branch: θ and, scaled by ‖2(θ − θ_ref)‖, λ", dims=("tangent_entry",)),
    "lowest_vectors": Q("their eigenvectors", dims=("lowest_mode", "parameter")),
    "kernel": Q("orthonormal basis of what the Hessian of L_eff maps to zero", dims=("kernel_direction", "parameter")),
}
BRANCH_TEXTS = frozenset(
    {"branch_name", "event_kind", "branches", "ended", "stretch", "first_stretch", "second_stretch", "descent_side", "likeness"}
)
