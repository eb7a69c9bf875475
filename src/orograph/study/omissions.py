"""What a study of a problem has no numbers of, in one sentence each: results say it, and reports leave its panels out."""

from orograph.study.bench import StudyBench


def left_out(bench: StudyBench) -> list[str]:
    """What cannot be had for this problem, and why; nothing for a classification with test data."""
    train, test = bench.objectives(bench.configurations[0])
    holds = {
        "Without test data there are no test losses and metrics, no gaps, and no measure of generalisation to correlate with.": (
            test is None
        ),
        "Accuracies, margins, errors along paths, disagreements and ensembles are for classifications alone.": (
            not bench.classifies
        ),
        "No metric fits these outputs and targets, and none was named.": not bench.metrics,
        "The Fisher–Rao norm needs a loss of each sample, and this loss gives only a mean.": not train.per_sample,
    }
    return [sentence for sentence, is_so in holds.items() if is_so]
