"""What files of results hold beside the quantities of single points: tables of meetings, changes, loops, correlations.

Part of the registry of quantities, for `analysis.json` and `landscape_analysis_results.json`. Names are dotted: the same words
mean other things at a point.
"""

from orograph.store.quantities import Quantity as Q

_CHAINS = {
    "chain": Q("seed and direction", short="chain"),
    "chains.points": Q("points of the chain"),
    "chains.inserted": Q("points of the chain that were inserted"),
    "chains.branches": Q("branches of eigenvalues"),
    "chains.trajectory_explained": Q("shares of the variance of θ on its principal components", dims=("component",)),
    "chains.gradient_trajectory_explained": Q("shares of the variance of ∇L on its principal components", dims=("component",)),
    "chains.changes_not_searched": Q("why changes of other quantities were not looked for"),
    "chains.noise.*": Q("standard deviation of one value of the series *, in the form in which it is compared"),
    "chains.forms.*": Q("form in which the series * is searched: linear, log10 or arsinh"),
    "chains.certificates.*": Q("certificate of the point at λ = *"),
    "envelope.low": Q("strength of the lower point"),
    "envelope.high": Q("strength of the upper point"),
    "envelope.slope": Q("slope ΔF/Δλ"),
    "envelope.trapezoid": Q("mean of q at both points"),
    "envelope.corrected": Q("mean of q with the correction by the susceptibilities"),
    "envelope.defect": Q("relative defect of dF/dλ = ‖θ − θ_ref‖²", short="defect"),
    "envelope.error": Q("what the length of the step alone may make of the defect"),
    "envelope.rounding": Q("what rounding of F alone may make of the defect"),
    "envelope.outside": Q("how far the slope lies outside what q at both points allows, relative to their mean"),
    "envelope.rises": Q("whether q rises with λ"),
    "envelope.critical": Q("whether both points are critical points"),
    "envelope.minima": Q("whether both points are minima"),
    "meetings.kind": Q("crossing, or avoided", short="kind"),
    "meetings.value": Q("eigenvalue at which two branches meet", short="value"),
    "meetings.gap": Q("least distance of the two branches", short="gap"),
    "meetings.exchange": Q("how much of their directions the two exchange", short="exchange"),
    "meetings.first": Q("first branch", short="first"),
    "meetings.second": Q("second branch", short="second"),
    "change.quantity": Q("quantity", short="quantity"),
    "change.low": Q("from which strength the change may lie", short="from"),
    "change.high": Q("to which strength the change may lie", short="to"),
    "change.kind": Q("jump or kink, as the ladder shows it", short="kind"),
    "change.jump": Q("change of the value", short="jump"),
    "change.kink": Q("change of the slope", short="kink"),
    "change.p_value": Q("p-value of the change", short="p"),
    "change.adjusted": Q("p-value after Holm over all series searched", short="after Holm"),
    "change.evidence": Q("what shows the change: a search of the series, or an identity of F or χ", short="shown by"),
    "judgement.order": Q("order of the transition", short="order"),
    "judgement.low": Q("lower end of what encloses the transition"),
    "judgement.high": Q("upper end of what encloses the transition"),
    "judgement.width": Q("width of what encloses the transition"),
    "judgement.shrinkage": Q("step of the ladder in units of that width"),
    "judgement.change": Q("change of q over it"),
    "judgement.steepness": Q("steepness relative to the steeper of the slopes beside it"),
    "judgement.slopes": Q("slopes dq/dλ on both sides", dims=("side",)),
    "judgement.bend": Q("exponent with which the slopes beside it grow apart with their distance: 1 in a bend, 0 at a kink"),
    "judgement.interval": Q("strengths that enclose the transition", short="enclosed in"),
    "judgement.exponent": Q("exponent of the change against the width", short="exponent"),
    "judgement.inserted": Q("points inserted around the transition", short="points inserted"),
    "transitions.inserted": Q("points inserted around the transition"),
    "class_changes.*.accuracy_lost": Q("accuracy that class * lost there", "percentage points"),
    "class_changes.*.share_moved": Q("how far the share of class * in the curvature moved there"),
    "coincidences.counts": Q("changes of both quantities", dims=("quantity",)),
    "coincidences.first": Q("first quantity", short="first"),
    "coincidences.second": Q("second quantity", short="second"),
    "coincidences.of_first": Q("changes of the first quantity", short="changes"),
    "coincidences.of_second": Q("changes of the second quantity", short="of second"),
    "coincidences.together": Q("changes that lie together", short="together"),
    "coincidences.p_value": Q("share of shifts along the ladder with as many together", short="p"),
    "coincidences.adjusted": Q("p-value after Holm", short="adjusted"),
    "class_relations.name": Q("class"),
    "class_relations.correlation": Q("correlation of steps of accuracy with steps of the share", short="correlation"),
    "class_relations.p_value": Q("p-value by block permutation", short="p"),
    "class_relations.block": Q("length of the blocks that are permuted, in steps"),
    "class_relations.count": Q("steps of the ladder that were compared"),
    "class_relations.adjusted": Q("p-value after Holm over the classes", short="after Holm"),
    "class_relations.lost_at": Q("strength at which the class loses most", short="most lost at λ"),
    "class_relations.lost": Q("accuracy lost there", "percentage points", short="lost, points"),
}

_LOOPS = {
    "loops.low": Q("strength from which the two ways differ", short="from"),
    "loops.high": Q("strength to which the two ways differ", short="to"),
    "loops.maxwell": Q("strength of equal L_eff", short="Maxwell point"),
    "loops.maxwell_interval": Q("step that holds the Maxwell point", dims=("ends",)),
    "loops.lower": Q("way of smaller L_eff"),
    "loops.width": Q("distance of the two escapes"),
    "loops.spinodal_width": Q("distance of the two spinodals"),
    "loops.spinodal_up": Q("strength at which the branch of the way up ends", short="spinodal up"),
    "loops.spinodal_down": Q("strength at which the branch of the way down ends", short="spinodal down"),
    "loops.escape_up": Q("step over which the way up left its branch", short="escape up"),
    "loops.escape_down": Q("step over which the way down left its branch", short="escape down"),
    "loops.area": Q("area ∮ q dλ", short="area"),
    "loops.accuracy_area": Q("area of the test accuracy", "percentage points", short="area of accuracy"),
    "loops.barrier_at": Q("strength of the barrier", short="at λ"),
    "loop_areas.area": Q("area ∮ q dλ of all loops of a seed"),
    "loop_areas.rate": Q("area of a slower run", short="slower run"),
    "loop_areas.null": Q("area of a second way up", short="second way up"),
}
for _way in ("up", "down"):
    _LOOPS |= {
        f"spinodal_{_way}.last": Q(f"last strength at which the branch of the way {_way} was followed"),
        f"spinodal_{_way}.objective_lambda_min": Q(f"smallest eigenvalue of L_eff at the last point of the way {_way}"),
        f"spinodal_{_way}.certificate": Q(f"certificate of the last point of the way {_way}"),
        f"spinodal_{_way}.estimate": Q(f"strength at which the branch of the way {_way} ends, by the law"),
        f"spinodal_{_way}.law": Q("law by which the smallest eigenvalue was extended to zero"),
        f"spinodal_{_way}.low": Q(f"least strength at which the branch of the way {_way} may end"),
        f"spinodal_{_way}.high": Q(f"largest strength at which the branch of the way {_way} may end"),
    }
for _other, _run in (("rate", "a slower run"), ("null", "a second way up")):
    _LOOPS |= {
        f"{_other}.area": Q(f"area over the strengths that {_run} has too"),
        f"{_other}.other": Q(f"area of {_run}"),
        f"{_other}.ratio": Q(f"area of {_run} relative to this one's"),
    }

_CORRELATIONS = {
    "correlations.metrics": Q("metrics that were correlated"),
    "correlations.targets": Q("measures of generalisation that they were held against"),
    "correlations.minima": Q("minima of the study"),
    "correlations.configurations": Q("configurations of the study"),
    "correlations.pooled": Q("whether seeds of several configurations were pooled"),
    "correlations.note": Q("what can be said from so many minima"),
    "table.metric": Q("metric"),
    "table.target": Q("measure of generalisation"),
    "table.count": Q("minima that have both"),
    "table.independent": Q("independent values among them"),
    "table.shared": Q("whether metric and measure are made of the same numbers"),
    "table.kendall_within": Q("Kendall's τ within configurations", symbol="τ within"),
    "granulated.*": Q("Kendall's τ where only * varies"),
    "granulated.mean": Q("mean of Kendall's τ over settings that vary alone"),
}
for _kind, _coefficient in (("pearson", "Pearson's r"), ("spearman", "Spearman's ρ"), ("kendall", "Kendall's τ")):
    _CORRELATIONS |= {
        f"{_kind}.value": Q(_coefficient),
        f"{_kind}.sign": Q(f"sign of {_coefficient}"),
        f"{_kind}.p_value": Q(f"p-value of {_coefficient}"),
        f"{_kind}.adjusted": Q(f"p-value of {_coefficient} after Holm"),
        f"{_kind}.low": Q(f"lower end of the 95 % interval of {_coefficient}"),
        f"{_kind}.high": Q(f"upper end of the 95 % interval of {_coefficient}"),
    }

_RESULTS = {
    "classes": Q("names of the classes"),
    "configurations.name": Q("configuration"),
    "varied": Q("settings in which the configurations differ"),
}
for _part in ("curves", "surfaces", "spectra", "instability"):
    _RESULTS |= {
        f"{_part}.kind": Q("what it is: pair, slice, plane, minimum, instability"),
        f"{_part}.name": Q("its name among those of its kind"),
        f"{_part}.file": Q("file that holds its arrays"),
    }

# Changes lie under the name of the series that changed.
_CHANGES = {f"changes.*.{name.removeprefix('change.')}": each for name, each in _CHAINS.items() if name.startswith("change.")}

SUMMARIES = _CHAINS | _CHANGES | _LOOPS | _CORRELATIONS | _RESULTS
