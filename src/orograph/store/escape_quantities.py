"""What is recorded of escapes from metastable states alone, as entries of the registry."""

from orograph.store.quantities import Quantity as Q

ESCAPES = {
    "member": Q("number of the chain of SGD", short="chain"),
    "chains": Q("chains of SGD", short="chains"),
    "temperature": Q("learning rate by batch size, to which the noise is proportional", symbol="T"),
    "first_passage": Q("steps until the chain crossed, or for which it was watched", dims=("member",), short="steps"),
    "escaped": Q("whether the chain crossed", dims=("member",), short="escaped"),
    "diverged": Q("whether the chain ceased to be finite", dims=("member",), short="diverged"),
    "checked": Q("crossings from which descent without noise was followed", short="checked"),
    "led_across": Q("how many of them it leads to the other side", short="led across"),
    "led_nowhere": Q("how many of them it did not decide", short="undecided"),
    "rate": Q("escapes in a unit of time, steps times learning rate", symbol="κ", short="rate"),
    "mean_time": Q("mean time until an escape, steps times learning rate", symbol="τ", short="mean time"),
    "weibull_shape": Q("shape of a Weibull law of the times, 1 for a constant rate", short="shape"),
    "weibull_p_value": Q("p-value of shape 1", short="p of shape 1"),
    "crossing": Q("order parameter that a chain has to cross", short="crossing"),
    "other_order_parameter": Q("order parameter of the state on the other side", short="q behind"),
    "other_objective": Q("L_eff of the state on the other side", "nat", short="L_eff behind"),
    "top_objective": Q("L_eff of the saddle, or of the highest place of the lowest path found", "nat", short="L_eff of saddle"),
    "top_order_parameter": Q("order parameter there", short="q of saddle"),
    "objective_lambda_max": Q("largest eigenvalue of the Hessian of L_eff", symbol="λ_max of L_eff"),
    "barrier_source": Q("what the height is of: a saddle that was followed, or a path", short="height of"),
    "other_theta": Q("θ of the state on the other side", dims=("parameter",)),
}
ESCAPE_TEXTS = frozenset({"barrier_source"})
