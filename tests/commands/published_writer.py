"""Writes a small sweep in the published formats, with torch and SciPy alone: nothing here knows of Orograph.

    python published_writer.py DATA.pt FOLDER

DATA.pt holds x, y, test_x, test_y. An MLP with two sigmoid layers is trained at three strengths λ of L + λ‖θ‖², up and then down.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import scipy.sparse.linalg
import torch
from torch import nn
from torch.nn import functional as F

STRENGTHS = (0.001, 0.004, 0.012)
K = 4


class Net(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, 6), nn.Linear(6, 5), nn.Linear(5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.sigmoid(self.fc1(x.flatten(1)))
        return self.fc3(torch.sigmoid(self.fc2(hidden)))


def penalty(net: nn.Module, strength: float) -> torch.Tensor:
    return strength * sum((p**2).sum() for p in net.parameters())


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, strength: float) -> None:
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=400, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x), y) + penalty(net, strength)
        loss.backward()
        return loss

    optimiser.step(closure)
    for parameter in net.parameters():  # the files hold float32
        parameter.data = parameter.data.float().double()


def eigenpairs(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    parameters = list(net.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(net(x), y), parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradients])

    def product(v: np.ndarray) -> np.ndarray:
        found = torch.autograd.grad(flat @ torch.from_numpy(v.reshape(-1)), parameters, retain_graph=True)
        return torch.cat([f.reshape(-1) for f in found]).numpy()

    operator = scipy.sparse.linalg.LinearOperator((len(flat), len(flat)), matvec=product, dtype=np.float64)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k=K, which="LM", tol=1e-8, v0=np.ones(len(flat)))
    order = np.argsort(-values)
    return values[order], vectors[:, order].T


def joined(values: np.ndarray, separator: str) -> str:
    return separator.join(str(value) for value in values.astype(np.float32))


def write_point(folder: Path, stem: str, net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    torch.save({name: tensor.float() for name, tensor in net.state_dict().items()}, folder / f"model_weights-{stem}.pth")
    gradients = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
    with (folder / f"gradients-{stem}.csv").open("w") as file:
        for (name, _), gradient in zip(net.named_parameters(), gradients, strict=True):
            file.write(f"dL/d{name}: {joined(gradient.reshape(-1).numpy(), ', ')}\n")
    values, vectors = eigenpairs(net, x, y)
    with (folder / f"Hessian-eigenvalues-{stem}.csv").open("w") as file:
        file.writelines(f"{value!r}\n" for value in values.tolist())
    with (folder / f"Hessian-eigenvectors-{stem}.csv").open("w") as file:
        file.writelines(joined(vector, ",") + "\n" for vector in vectors)


def main(data: Path, folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    parts = torch.load(data, weights_only=True)
    x, test_x = parts["x"].double(), parts["test_x"].double()
    y, test_y = parts["y"], parts["test_y"]
    net = Net(x[0].numel()).double()
    folder.mkdir(parents=True)
    for model, ladder in (("0", STRENGTHS), ("0-down", STRENGTHS[::-1])):
        rows = []
        for strength in ladder:
            train(net, x, y, strength)
            write_point(folder, f"{model}-{strength:.5f}", net, x, y)
            with torch.no_grad():
                loss, test = F.cross_entropy(net(x), y).item(), F.cross_entropy(net(test_x), test_y).item()
                accuracy = 100 * (net(test_x).argmax(1) == test_y).double().mean().item()
                rows.append(
                    [strength, *(f"{v:.9f}" for v in (loss, loss + penalty(net, strength).item(), test)), f"{accuracy:.4f}"]
                )
        with (folder / f"Model-{model}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["L2_strength", "Train_Loss", "Train_Reg_Loss", "Test_Loss", "Test_Accuracy"])
            writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
