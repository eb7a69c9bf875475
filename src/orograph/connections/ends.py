"""What a connection works with: the two minima out of their files, and the losses of their network."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.commands.brought import with_weights
from orograph.connections.settings import ConnectSettings
from orograph.connectivity.connecting import end_of, require_finite
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import classifies
from orograph.objective import Objective
from orograph.settings.base import folder_name, is_own
from orograph.settings.shared import Execution
from orograph.store.atomic import sha256
from orograph.work.bench import objectives, prepare
from orograph.work.problems import weights_digest
from orograph.work.trial import require_memory
from orograph.wrapping import unwrapped


@dataclass(frozen=True, eq=False)
class Ends:
    """Two minima of one network.

    Attributes:
        settings: with all that was left open settled.
        train: on the training data, at the first.
        test: on the test data; None without these.
        first: θ of the first, `(P,)`.
        second: θ of the second, `(P,)`.
        classes: names of the classes, or of other groups of samples; none where the outputs are no scores of classes.
        labels: the class of every test sample, `(N,)`, of training samples where there are no test data; None without classes.
        digest: SHA-256 of what both networks hold.
    """

    settings: ConnectSettings
    train: Objective
    test: Objective | None
    first: Float[Tensor, " P"]
    second: Float[Tensor, " P"]
    classes: tuple[str, ...]
    labels: Int[Tensor, " N"] | None
    digest: str

    @property
    def shown(self) -> Objective:
        """On the data of which accuracies of classes are taken."""
        return self.train if self.test is None else self.test

    @classmethod
    def prepare(cls, settings: ConnectSettings, execution: Execution) -> "Ends":
        """Loads and checks all that is needed; writes nothing.

        Raises:
            OrographError: anything that cannot be had as asked.
        """
        for name in ("a", "b"):
            if not getattr(settings, name):
                raise ConfigurationError(
                    f"connect needs two checkpoints, and `{name}` is missing: .pth or .safetensors state dicts."
                )
        settings, device, problem = prepare(settings, settings.model, execution.data_dir, seed=settings.curves.seed)
        chosen, dtype = settings.model, getattr(torch, settings.numerics.dtype)
        if not is_own(chosen.model):
            options = {"input_shape": problem.shape, "classes": problem.outputs, **chosen.options()}
            require_memory(chosen.model, options, dtype=dtype, device=device)
        one, other = (unwrapped(with_weights(path, chosen.model, problem, dtype)).to(device) for path in (settings.a, settings.b))
        train, test = objectives(one, problem, settings.numerics)
        first, second = train.theta, train.moved(end_of(other, train)).theta
        require_finite(first, second)
        if torch.equal(first, second):
            raise ConfigurationError(f"`a` {settings.a} and `b` {settings.b} hold the same θ; give two minima.")
        groups = problem.grouped() if classifies(train) else None
        labels = None if groups is None else groups.train if test is None else groups.test
        digest = sha256(f"{weights_digest(one)}{weights_digest(other)}".encode())
        return cls(settings, train, test, first, second, () if groups is None else groups.names, labels, digest)


def folder_of(settings: ConnectSettings, execution: Execution) -> Path:
    """Where the run is written."""
    named = "-".join(folder_name(Path(each).stem) for each in (settings.a, settings.b))
    return Path(execution.out or Path("runs") / f"{named}-connection")
