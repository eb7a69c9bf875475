"""The curvature along a training loop of one's own, recorded into a run that `open_run`, `watch` and `report` show.

Every so many steps: L, ‖∇L‖, λ_max with what it means for the optimiser's learning rate (`training.stability`), the trace, the
critical sharpness of the update that was just made (`training.critical`), and where the loss is not C² the curvature along v₁ at
a finite radius, which sees kinks; all over the training data of a problem. The module that is trained is only read: what is
measured is a network of the problem's own that takes its values, and random streams go on as if nothing had been. λ_max begins
from the eigenvector of the measurement before, so that it costs a few products.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from orograph.calling import apart
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.geometry.smoothness import finite_companions, is_smooth
from orograph.memory import DEFAULT_MEMORY
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.process import choose_device, kept_state
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.traces import trace
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run
from orograph.store.run import Run
from orograph.store.track import TRACK, moment_key, moments
from orograph.training.critical import critical_sharpness
from orograph.training.stability import PRODUCTS, TOLERANCE, rule_of, stability, with_buffers
from orograph.work.problems import as_begun, chosen_parts, require_unchanged, with_names
from orograph.wrapping import unwrapped

WITHOUT_RATE = (
    "Without stability and critical sharpness: these need SGD, Adam or AdamW with one learning rate and one decay for all "
    "parameters; critical_steps is the least multiple of the update that raises the loss."
)


@dataclass(frozen=True, eq=False)
class _State:
    """Where the training stood after a step: θ, and everything else that the network computes with."""

    step: int
    theta: Float[Tensor, " P"]
    constants: dict[str, Tensor]


class Tracker:
    """Measures curvature where a training loop stands, every so many steps, and records it.

    Args:
        problem: the network, its loss and its training data; θ is what its `parameters` say.
        out: the run's directory. One that holds a track of the same problem and settings is gone on with: steps are counted from
            the last one recorded.
        every: steps between two measurements.
        probes: random vectors of the trace; 0 leaves it out.
        samples: of the training data that are measured on, drawn once; all when None.
        seed: of the random vectors, and of that draw.
        memory: budget for activations, in bytes or like `4GiB`.
        device: where it is measured; the first CUDA device where there is one when None.

    Attributes:
        steps: how many were made, those of earlier sessions included.
        path: of the run.

    Raises:
        OrographError: the problem does not fit together, or the directory holds something else.

    Examples:
        >>> import torch, orograph as og
        >>> problem = og.Problem(torch.nn.Linear(3, 1), torch.nn.MSELoss(), train=(torch.randn(9, 3), torch.randn(9, 1)))
        >>> with og.Tracker(problem, out="tiny", every=1) as tracker:
        ...     record = tracker.step(torch.nn.Linear(3, 1))
    """

    steps: int

    def __init__(
        self,
        problem: Problem,
        *,
        out: str | Path,
        every: int = 100,
        probes: int = 8,
        samples: int | None = None,
        seed: int = 0,
        memory: str | int = DEFAULT_MEMORY,
        device: str | None = None,
    ) -> None:
        for name, value, least in (("every", every, 1), ("probes", probes, 0), ("samples", samples, 1)):
            if (value is not None and value < least) or (name, value) == ("probes", 1):
                raise ConfigurationError(f"`{name}` {value} must be at least {2 if (name, value) == ('probes', 1) else least}.")
        self._every, self._probes, self._seed = every, probes, seed
        with kept_state(), apart():
            named = with_names(problem)
            place = choose_device(device)
            network = named.network().to(place)
            whole = Objective(network, named.loss, named.train, parameters=named.parameters, memory=memory)
            self._objective = whole
            if samples is not None and samples < whole.count:
                drawn = torch.randperm(whole.count, generator=torch.Generator().manual_seed(seed))[:samples]
                self._objective = whole.subset(drawn.sort().values)
            self._smooth = is_smooth(self._objective)
            parts = chosen_parts(named)
            if (begun := begun_run(Path(out), TRACK)) is not None:
                known = as_begun(parts, begun.configuration)
                require_unchanged(known, parts)
                parts = known
            self._run = Run.create(
                out,
                kind=TRACK,
                configuration={
                    "data": {"dataset": named.names["data"]},
                    "model": {"model": named.names["model"]},
                    "problem": parts.model_dump(mode="json"),
                    "tracking": {"every": every, "probes": probes, "samples": samples, "seed": seed},
                },
                numerics={"dtype": str(whole.dtype).removeprefix("torch."), "device": place.type},
                provenance=provenance(place),
                metrics=(),
                tensors=dict(zip(whole.layout.names, whole.layout.shapes, strict=True)),
            )
        self.steps = max(moments(self._run), default=0)
        self._operator = HessianOperator.of(self._objective)
        self._near: dict[str, Tensor] = {}  # eigenvectors of the measurement before
        self._critical: float | None = None  # the critical learning rate then
        self._before: _State | None = None

    @property
    def path(self) -> Path:
        """Where it is recorded."""
        return self._run.path

    def step(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        loss: Tensor | float | None = None,
        *,
        number: int | None = None,
    ) -> dict[str, Any] | None:
        """To be called after every step of the optimiser.

        Args:
            model: that is trained; it is read and left as it is.
            optimizer: that made the step. Its learning rate turns λ_max into a stability and is the unit of `critical_lr`; where
                there is not one (none given, not SGD, Adam or AdamW, or groups of several), `critical_steps` takes their place:
                the least multiple of the last update that raises L. `left_out` says so.
            loss: of the step's batch, to be recorded beside.
            number: of the step, where the loop counts itself; counted here when None.

        Returns:
            What was measured and recorded; None where nothing was.

        Raises:
            DataError: the model is not the problem's network.
            RunError: the tracker is closed, or the disk refuses.
        """
        self.steps = self.steps + 1 if number is None else number
        key = moment_key(self.steps)
        due = self.steps % self._every == 0 and key not in self._run.findings
        if not due and (self.steps + 1) % self._every:
            self._before = None
            return None
        with apart():
            now, before = self._state(model), self._before
            self._before = now
            if not due:
                return None
            scalars: dict[str, Any] = {}
            if loss is not None:
                scalars["batch_loss"] = float(loss.detach() if isinstance(loss, Tensor) else loss)
            status = "done"
            try:
                scalars |= self._measured(now, before, model, optimizer)
            except OrographError as error:  # a training that diverged is not to be stopped by who watches it
                status, scalars["error"] = "failed", str(error)
            self._run.commit_finding(key, status=status, scalars=scalars)
        return {"step": self.steps, **scalars}

    def close(self) -> None:
        """The run is given free; another tracker may go on with it."""
        self._run.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _state(self, model: nn.Module) -> _State:
        """Copies of what the module holds now."""
        objective, model = self._objective, unwrapped(model)
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        wanted = dict(zip(objective.layout.names, objective.layout.shapes, strict=True))
        wanted |= {name: each.shape for name, each in objective.constants.items()}
        for name, shape in wanted.items():
            if name not in values or values[name].shape != shape:
                found = f"has it of shape {tuple(values[name].shape)}" if name in values else "has none of that name"
                raise DataError(
                    f"the problem's network has '{name}' of shape {tuple(shape)}, and the model {found}; give the model that the "
                    "problem makes."
                )
        theta = objective.layout.flatten(values).to(objective.theta, copy=True)
        constants = {name: values[name].detach().to(each, copy=True) for name, each in objective.constants.items()}
        return _State(self.steps, theta, constants)

    def _measured(self, now: _State, before: _State | None, model: nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
        if not now.theta.isfinite().all():
            raise DataError("the parameters hold NaN or infinity: the training has diverged; lower its learning rate.")
        objective, hessian = self._at(now)
        found: dict[str, Any] = {
            "train_loss": objective.loss(now.theta),
            "gradient_norm": objective.gradient(now.theta).double().norm().item(),
            "parameter_norm": now.theta.double().norm().item(),
        }
        optimizer = getattr(optimizer, "optimizer", optimizer)  # what accelerators wrap around it
        named = dict(unwrapped(model).named_parameters())
        rule = None if optimizer is None else rule_of(optimizer, [named[name] for name in objective.layout.names])
        if rule is None:
            pair = lanczos(hessian, 1, which="LA", tolerance=TOLERANCE, max_products=PRODUCTS, start=self._near.get("lambda_max"))
            found["lambda_max"], self._near = pair.eigenvalues[0].item(), {"lambda_max": pair.eigenvectors[0]}
            found["left_out"] = WITHOUT_RATE
        else:
            fields, self._near = stability(hessian, rule.to(now.theta), self._near)
            found |= {"lr": rule.lr, **fields}
        if not self._smooth:
            shift = 0.0 if rule is None else rule.decay  # as in λ_max
            found |= finite_companions(objective, now.theta, {"lambda_max": self._near["lambda_max"]}, shift=shift)
        if self._probes:
            total = trace(hessian, method="hutchinson", probes=self._probes, seed=self._seed)
            found |= {"trace": total.value, "trace_error": total.error}
        if before is not None and before.step == now.step - 1:
            found |= self._along(before, now, found.get("lr"))
        return found

    def _along(self, before: _State, now: _State, lr: float | None) -> dict[str, Any]:
        """Of the update that was made last, from where it began. Without a learning rate that is known it counts by itself."""
        step = before.theta - now.theta
        length = step.double().norm().item()
        if length == 0:
            return {"update_norm": 0.0}
        rate = lr if lr else 1.0
        critical = critical_sharpness(self._objective_at(before), before.theta, step / rate, guess=self._critical or rate)
        self._critical = critical.lr if math.isfinite(critical.lr) else None
        named = {"critical_sharpness": critical.value, "critical_lr": critical.lr} if lr else {"critical_steps": critical.lr}
        return {"update_norm": length, **named, "critical_passes": critical.passes}

    def _objective_at(self, state: _State) -> Objective:
        """The objective with the constants of a state: buffers, and parameters that are not in θ."""
        held = self._objective.constants
        same = all(torch.equal(each, state.constants[name]) for name, each in held.items())
        return self._objective if same else with_buffers(self._objective, state.constants)

    def _at(self, state: _State) -> tuple[Objective, HessianOperator]:
        """The same and its Hessian, whose trace is kept while the constants are."""
        objective = self._objective_at(state)
        if objective is not self._objective:
            self._objective, self._operator = objective, HessianOperator.of(objective)
        return objective, self._operator.at(state.theta)
