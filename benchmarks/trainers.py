"""Competitors at one epoch of training: the plain loop over a DataLoader, and Orograph's chain and cohorts.

`epoch()` trains for one epoch from the same start. All of them minimise L(θ) + λ‖θ‖² with Adam at a learning rate of 0.0015 in
batches of 64 and keep a running average of the loss, as the published procedure does; nothing is evaluated at the epoch's end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from orograph.training import TrainingSettings, train, train_cohort
from orograph.training.gradient import BatchGradient
from orograph.training.order import permutation
from orograph.training.pieces import samples
from orograph.training.update import Update, rows
from workload import Workload, load_theta

STRENGTH = 1e-4
BATCH = 64
SETTINGS = TrainingSettings(epochs=1, published=True)


class PlainLoop:
    """What is written everywhere: a module, `torch.optim.Adam`, a shuffling DataLoader, the penalty in the loss."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.model = workload, workload.model()
        self.data = TensorDataset(workload.inputs.cpu(), workload.targets.cpu())
        self.criterion = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        torch.manual_seed(0)
        load_theta(self.model, self.workload.theta)
        loader = DataLoader(self.data, batch_size=BATCH, shuffle=True)
        running = sum(loss * length for loss, length in self._steps(loader))
        return running / self.workload.count

    def _steps(self, loader: DataLoader[tuple[Tensor, ...]]) -> Iterator[tuple[float, int]]:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=SETTINGS.lr)
        device = self.workload.theta.device
        self.model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = self.criterion(self.model(inputs.to(device)), targets.to(device))
            penalty = sum((parameter**2).sum() for parameter in self.model.parameters())
            (loss + STRENGTH * penalty).backward()
            optimizer.step()
            yield loss.item(), len(targets)


class Chain:
    """Orograph's loop for one model.

    Args:
        published: the published stopping rule, which evaluates nothing at the epoch's end; otherwise the default, which
        evaluates the objective
            over all data before the first epoch and after each.
    """

    def __init__(self, workload: Workload, published: bool = True) -> None:
        self.objective, self.theta = workload.objective(strength=STRENGTH), workload.theta
        self.settings = TrainingSettings(epochs=1, published=published)

    def epoch(self) -> float:
        return train(self.objective, self.theta, self.settings, order_seed=0).history[-1]["loss"]


class Cohort:
    """Orograph's cohort: `models` models together, either one strength each on a shared stream, or one stream each."""

    def __init__(self, workload: Workload, models: int, kind: str) -> None:
        self.objective, self.models, self.kind = workload.objective(), models, kind
        scales = 1 + 0.01 * torch.arange(models, device=workload.theta.device)
        self.thetas = workload.theta * scales[:, None] if kind == "seeds" else workload.theta.expand(models, -1)

    def epoch(self) -> float:
        ladder = [2 * STRENGTH * (index + 1) / (self.models + 1) for index in range(self.models)]
        strengths = ladder if self.kind == "strengths" else [STRENGTH] * self.models
        seeds = 0 if self.kind == "strengths" else list(range(self.models))
        trained = train_cohort(self.objective, self.thetas.clone(), SETTINGS, strengths=strengths, order_seeds=seeds)
        return sum(one.history[-1]["loss"] for one in trained) / self.models


@dataclass(frozen=True)
class Differences:
    """How far Orograph's steps are from the plain loop's, relative to max(1, loss), each over all steps of an epoch.

    Attributes:
        loss: at the loop's own θ, step by step.
        gradient: the same of the gradient of the loss, relative to its norm.
        free: of the losses when both go their own way from the same start, at each step.
        unit: the rounding unit of the dtype.
    """

    loss: list[float]
    gradient: list[float]
    free: list[float]
    unit: float


class Agreement(PlainLoop):
    """The plain loop and Orograph's chain side by side on the same mini-batches, compared at every step."""

    def compare(self) -> Differences:
        objective = self.workload.objective(strength=STRENGTH)
        data, count = samples(objective), self.workload.count
        theta = self.workload.theta
        state = {
            name: (rows(1, theta[None]), rows(1, theta[None]), torch.zeros(1, device=theta.device)) for name in ("held", "free")
        }
        gradients = {
            (name, length): BatchGradient(objective, *state[name], data, length=length, shared=True, stacked=False)
            for name in state
            for length in {BATCH, count % BATCH or BATCH}
        }
        own, slope, losses = state["free"]
        own[0].copy_(theta)
        update = Update(SETTINGS, own, slope, [STRENGTH], [None])
        update.prepare([SETTINGS.lr])

        order = permutation(0, 1, count)
        found = Differences([], [], [], torch.finfo(theta.dtype).eps)
        load_theta(self.model, theta)
        loader = DataLoader(self.data, batch_size=BATCH, sampler=order.tolist())
        parts = iter(order.split(BATCH))
        before = objective.layout.flatten(dict(self.model.named_parameters()))
        for loss, length in self._steps(loader):
            indices = next(parts).to(theta.device)
            scale = max(1.0, abs(loss))
            gradients["free", length](indices)
            found.free.append(abs(losses.item() - loss) / scale)
            update()
            held, gradient, held_losses = state["held"]
            held[0].copy_(before)
            gradients["held", length](indices)
            found.loss.append(abs(held_losses.item() - loss) / scale)
            expected = self._gradient(before, indices)
            found.gradient.append(((gradient[0] - expected).norm() / expected.norm()).item())
            before = objective.layout.flatten(dict(self.model.named_parameters()))
        return found

    def _gradient(self, theta: Tensor, indices: Tensor) -> Tensor:
        """∇L of a mini-batch by autograd on a module of its own."""
        model = self.workload.model()
        load_theta(model, theta)
        loss = F.cross_entropy(model(self.workload.inputs[indices]), self.workload.targets[indices])
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(model.parameters()))])
