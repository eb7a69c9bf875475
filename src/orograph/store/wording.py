"""What the quantities of one run are called: the registry speaks of classes, images, accuracy and nats, which not every run has.

A run of groups of one's own has shares of groups, one on data of one's own has samples, one with another first metric loses that
along its ladder, and a loss that is no logarithm of a probability has no unit.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orograph.data.names import TEACHER
from orograph.metrics import ACCURACY
from orograph.models.names import MODELS
from orograph.settings.base import is_own
from orograph.store.quantities import Quantity
from orograph.store.summaries import SUMMARIES

_IN_NATS = re.compile(r"cross_?entropy|nll_?loss|bce|kl_?div", re.IGNORECASE)
_IDLE = (("data", "dataset", ("subset_size", "subset_seed")), ("model", "model", ("widths", "activation")))
_PLURALS = {"class": "classes", "group": "groups", "image": "images", "sample": "samples"}


@dataclass(frozen=True)
class Score:
    """The metric that change points, coincidences, relations and tables are about: the first of a run that is one number.

    Attributes:
        name: in records, behind `train_`, `test_`, and `class_` or `group_`.
        label: in words.
        unit: `%`, or 1.
        higher_is_better: its direction.
    """

    name: str = ACCURACY.name
    label: str = ACCURACY.long_name
    unit: str = ACCURACY.unit
    higher_is_better: bool = True

    @property
    def points(self) -> str:
        """The unit of its differences."""
        return "percentage points" if self.unit == "%" else self.unit

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> "Score":
        """From what a run keeps of a metric."""
        return cls(facts["name"], facts["label"], facts["unit"], facts["better"] == "higher")

    def shown(self, row: Container[str]) -> str:
        """The name under which it is told: of the test data, where there are some."""
        return f"test_{self.name}" if f"test_{self.name}" in row or "test_loss" in row else f"train_{self.name}"

    def text(self, value: float) -> str:
        """A value as it is written in half a line."""
        return f"{value:.2f} %" if self.unit == "%" else f"{value:.4g}"


@dataclass(frozen=True)
class Wording:
    """How a run is spoken of.

    Attributes:
        grouping: what its labels are, `class` or `group`.
        sample: what its data are of, `image` or `sample`.
        nats: whether its loss is a logarithm of a probability.
        score: its first metric; None where it has none.
    """

    grouping: str = "class"
    sample: str = "image"
    nats: bool = True
    score: Score | None = Score()

    def of(self, name: str, known: Quantity) -> Quantity:
        """What is known of a quantity, in the words of this run."""
        if self == Wording():
            return known
        units = "1" if known.units == "nat" and not self.nats else known.units
        score = self.score
        if name in SUMMARIES and score is not None and units == "percentage points":
            units = score.points
        return replace(known, long_name=self._said(name, known.long_name), short=self._said(name, known.short), units=units)

    def _said(self, name: str, text: str) -> str:
        for word, own in (("class", self.grouping), ("image", self.sample)):
            if own != word:
                text = re.sub(rf"\b{_PLURALS[word]}\b", _PLURALS[own], text)
                text = re.sub(rf"\b{word}\b", own, text)
        if name in SUMMARIES and self.score is not None:
            text = text.replace("accuracy", self.score.label)
            text = text if self.score.unit == "%" else text.replace(", points", "")
        return text


def wording_of(configuration: Mapping[str, Any], score: Score | None) -> Wording:
    """How the run of a configuration is spoken of.

    Args:
        configuration: as `run.json` has it.
        score: the first metric that is one number.
    """
    problem, data = (_table(configuration, name) for name in ("problem", "data"))
    return Wording(
        grouping="group" if problem.get("groups") else "class",
        sample="sample" if is_own(name := str(data.get("dataset", ""))) or name == TEACHER else "image",
        nats=bool(_IN_NATS.search(str(problem.get("loss", "cross_entropy")).rpartition(":")[2])),
        score=score,
    )


def wording_of_results(results: Mapping[str, Any]) -> Wording:
    """How a study is spoken of.

    Args:
        results: of the study, as its results file has them; those of older ones name no metrics.
    """
    scores = results.get("scores")
    score = Score() if scores is None else Score.of(scores[0]) if scores else None
    return wording_of(results.get("configuration", {}), score)


def stated(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says nothing: options of named models and data where these are one's own or have none such."""
    found = dict(configuration)
    for table, name, idle in _IDLE:
        values = found.get(table)
        if isinstance(values, Mapping) and is_own(str(values.get(name, ""))):
            found[table] = {key: value for key, value in values.items() if key not in idle}
    model = found.get("model")
    if isinstance(model, Mapping) and "activation" not in MODELS.get(str(model.get("model", "")), ("activation",)):
        found["model"] = {key: value for key, value in model.items() if key != "activation"}
    return found


def _table(configuration: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    values = configuration.get(name)
    return values if isinstance(values, Mapping) else {}
