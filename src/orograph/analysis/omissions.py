"""What cannot be had for a problem, in one sentence each: results say it, and reports leave its panels out."""

from orograph.store.analysis import Analysis
from orograph.store.run import Run
from orograph.sweep.bench import Bench


def left_out(bench: Bench, run: Run, analysis: Analysis) -> list[str]:
    """What an analysis of this problem has no numbers of, and why; nothing for a classification of images with test data."""
    instruments = bench.instruments
    groups, classifies = instruments.groups, instruments.classifies
    outputs = "Means of the outputs' gradients by class, and outliers beyond the classes, are for classifications alone."
    reasons = [analysis.scalars("classes", cell).get("left_out") for cell in run.records]
    said = [f"Left out: {reason.rstrip('.')}." for reason in dict.fromkeys(reasons) if isinstance(reason, str)]
    holds = {
        "Without test data there are no test losses and metrics, and none by class or group.": instruments.test is None,
        "No metric fits these outputs and targets, and none was named.": not instruments.metrics,
        "Without classes or other groups there are no shares, gradients and metrics of groups.": groups is None,
        outputs: not classifies,
        "Samples that are no images are not drawn; the shares of those that carry a direction most are kept as numbers.": (
            not bench.problem.shows and not said
        ),
    }
    return [sentence for sentence, is_so in holds.items() if is_so] + said
