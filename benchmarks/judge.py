"""What all results are compared with: plain PyTorch, which belongs to none of the competitors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from floors import random_vector
from subjects import Case
from workload import Batches, Workload

Measured = Workload | Case


def double_backward(model: nn.Module, parameters: list[nn.Parameter], batches: Any, count: int, vector: Tensor) -> Tensor:
    """∇(∇L·v), batch by batch, weighted by their sizes (Pearlmutter 1994)."""
    total = torch.zeros_like(vector)
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs.to(vector.device)), targets.to(vector.device))
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        inner = torch.cat([gradient.reshape(-1) for gradient in gradients]) @ vector
        products = torch.autograd.grad(inner, parameters)
        total += torch.cat([product.reshape(-1) for product in products]) * (len(targets) / count)
    return total


class Judge:
    """What all results are compared with: double backward in plain PyTorch, in batches of 1,000, accumulated in float64.

    Args:
        dtype: of the products, `float32` or `float64`.
    """

    def __init__(self, workload: Measured, dtype: str = "float32") -> None:
        kind = getattr(torch, dtype)
        self.count, self.dtype = workload.count, kind
        self.model = workload.model().to(kind)
        self.parameters = list(self.model.parameters())
        turned = (
            (inputs.to(kind) if inputs.is_floating_point() else inputs, targets) for inputs, targets in workload.batches(1000)
        )
        self.batches: Batches = list(turned)
        self.vector = random_vector(workload).double()

    def multiply(self, vector: Tensor) -> Tensor:
        """H v in float64, from products of the chosen dtype."""
        total = torch.zeros_like(vector)
        for batch in self.batches:
            share = len(batch[1]) / self.count
            total += double_backward(self.model, self.parameters, [batch], len(batch[1]), vector.to(self.dtype)).double() * share
        return total

    def product(self) -> np.ndarray:
        return self.multiply(self.vector).cpu().numpy()

    def gauss_newton(self) -> np.ndarray:
        """JᵀH_zJ v by reverse differentiation alone: Jv is the derivative of Jᵀu in u."""
        total = torch.zeros_like(self.vector)
        sizes = [parameter.numel() for parameter in self.parameters]
        parts = self.vector.to(self.dtype).split(sizes)
        direction = [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]
        for inputs, targets in self.batches:
            outputs = self.model(inputs)
            dummy = torch.zeros_like(outputs, requires_grad=True)
            turned = torch.autograd.grad(outputs, self.parameters, dummy, create_graph=True)
            (moved,) = torch.autograd.grad(turned, dummy, direction)
            point = outputs.detach().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(point, targets), point, create_graph=True)
            (bent,) = torch.autograd.grad(slope, point, moved)
            found = torch.autograd.grad(outputs, self.parameters, bent)
            total += torch.cat([part.reshape(-1) for part in found]).double() * (len(targets) / self.count)
        return total.cpu().numpy()

    def residuals(self, eigenvalues: np.ndarray, eigenvectors: np.ndarray) -> np.ndarray:
        """‖Hv − λv‖ / |λ| of each pair, its vector normalised first."""
        result = []
        for value, vector in zip(eigenvalues, eigenvectors, strict=True):
            unit = torch.from_numpy(vector).double().to(self.vector.device)
            unit /= unit.norm()
            result.append(((self.multiply(unit) - float(value) * unit).norm() / abs(float(value))).item())
        return np.array(result)
