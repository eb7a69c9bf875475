"""The configurations of a study: every combination of the listed settings, each with a short name that follows from it alone."""

import itertools
from dataclasses import asdict, dataclass
from typing import Any

from orograph.models.names import MODELS
from orograph.study.settings import StudySettings
from orograph.training.settings import OPTIMIZERS, FitSettings

HIDDEN = {"MLP1": 128, "MLP2": 128, "MLP3": 128, "CNN": 84, "deep-linear": 128}
DEPTHS = {"ResNet": 8, "deep-linear": 1}
RATES = {"SGD": 1e-3}  # the published ones; every other optimiser has OTHER_RATE
OTHER_RATE = 5e-4
DECAYS = {"AdamW": 5e-4}
# From which learning rates are chosen where optimisers are compared, besides those given.
CANDIDATES = {
    "SGD": (0.3, 0.1, 0.03, 0.01, 0.003),
    "Adam": (0.01, 0.003, 0.001, 3e-4, 1e-4),
    "AdamW": (0.01, 0.003, 0.001, 3e-4, 1e-4),
}


@dataclass(frozen=True)
class Configuration:
    """One combination; settings that its model or optimiser does not have are None.

    Attributes:
        lr: None where it is chosen on held-out images before training.
    """

    name: str
    model: str
    hidden_size: int | None
    depth: int | None
    width_factor: int | None
    activation: str
    batch_norm: bool
    optimizer: str
    scheduler: str
    lr: float | None
    weight_decay: float
    momentum: float | None
    batch_size: int
    epochs: int
    min_lr: float

    def options(self) -> dict[str, Any]:
        """What `build_model` takes."""
        wanted = ("hidden_size", "depth", "width_factor", "activation", "batch_norm")
        return {
            name: getattr(self, name) for name in wanted if name in MODELS.get(self.model, ()) and getattr(self, name) is not None
        }

    @property
    def architecture(self) -> tuple[Any, ...]:
        """What it shares with all configurations of the same network."""
        return (self.model, tuple(sorted(self.options().items())))

    def fit(self, rate: float | None = None) -> FitSettings:
        """How it is trained, at its own learning rate or at a chosen one."""
        lr = self.lr if rate is None else rate
        assert lr is not None, "a learning rate that is to be chosen must be given"
        return FitSettings(
            optimizer=self.optimizer if self.optimizer in OPTIMIZERS else OPTIMIZERS[0],  # a function of one's own takes none
            lr=lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum or 0.0,
            batch_size=self.batch_size,
            epochs=self.epochs,
            scheduler=self.scheduler,
            min_lr=min(self.min_lr, lr),
        )

    def fields(self) -> dict[str, Any]:
        return asdict(self)


def configurations(settings: StudySettings) -> list[Configuration]:
    """All combinations, in the order of the lists; those that differ only in a setting that does not apply come once."""
    shape, training = settings.architecture, settings.optimisation
    own = settings.problem.train.rpartition(":")[2]  # a function that trains in place of an optimiser
    found: dict[str, Configuration] = {}
    for model, hidden, depth, factor, activation, optimizer, scheduler, rate, decay, batch in itertools.product(
        shape.model,
        shape.hidden_size or (None,),
        shape.depth or (None,),
        shape.width_factor or (None,),
        shape.activation,
        (own,) if own else training.optimizers,
        training.scheduler,
        (training.lr if not training.compare_optimizers else ()) or (None,),
        training.weight_decay or (None,),
        training.batch_size,
    ):
        options = MODELS.get(model, ("batch_norm",))
        own_rate, own_decay = RATES.get(optimizer, OTHER_RATE), DECAYS.get(optimizer, 0.0)
        plain = Configuration(
            name="",
            model=model,
            hidden_size=(hidden or HIDDEN[model]) if "hidden_size" in options else None,
            depth=(depth or DEPTHS[model]) if "depth" in options else None,
            width_factor=(factor or 1) if "width_factor" in options else None,
            activation=activation,
            batch_norm=shape.batch_norm or "batch_norm" not in options,
            optimizer=optimizer,
            scheduler=scheduler,
            lr=None if training.compare_optimizers else own_rate if rate is None else rate,
            weight_decay=own_decay if decay is None else decay,
            momentum=training.momentum if optimizer == "SGD" else None,
            batch_size=batch,
            epochs=training.epochs,
            min_lr=training.min_lr,
        )
        named = Configuration(**{**plain.fields(), "name": _name(plain, own_rate, own_decay)})
        found.setdefault(named.name, named)
    return list(found.values())


def _name(chosen: Configuration, own_rate: float, own_decay: float) -> str:
    """`MLP2-h4096-AdamW`, and then whatever differs from the published settings."""
    marks = [
        (True, chosen.model.rpartition(":")[2]),
        (chosen.hidden_size is not None, f"h{chosen.hidden_size}"),
        (chosen.depth is not None, f"d{chosen.depth}"),
        (chosen.width_factor is not None, f"w{chosen.width_factor}"),
        (chosen.batch_norm and "batch_norm" in MODELS.get(chosen.model, ()), "bn"),
        (chosen.activation != "relu", chosen.activation),
        (True, chosen.optimizer),
        (chosen.scheduler != "cosine", "constant" if chosen.scheduler == "none" else chosen.scheduler),
        (chosen.lr not in (None, own_rate), f"lr{chosen.lr:g}" if chosen.lr is not None else ""),
        (chosen.weight_decay != own_decay, f"wd{chosen.weight_decay:g}"),
        (chosen.momentum not in (None, 0.85), f"m{chosen.momentum}"),
        (chosen.batch_size != 128, f"b{chosen.batch_size}"),
    ]
    return "-".join(text for holds, text in marks if holds)


VARIABLE = (
    "model",
    "hidden_size",
    "depth",
    "width_factor",
    "activation",
    "batch_norm",
    "optimizer",
    "scheduler",
    "lr",
    "weight_decay",
    "momentum",
    "batch_size",
)


def varied(chosen: list[Configuration]) -> list[str]:
    """The settings in which configurations differ: the hyper-parameters of the study."""
    return [name for name in VARIABLE if len({getattr(each, name) for each in chosen}) > 1]


def candidates(optimizer: str, given: tuple[float, ...]) -> tuple[float, ...]:
    """The learning rates to choose from, ascending."""
    return tuple(sorted({*CANDIDATES[optimizer], *given}))
