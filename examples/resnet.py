"""A residual network with BatchNorm on images: the curvature of each of its layers, and its loss surface.

    python examples/resnet.py [FOLDER]

writes `resnet-surface.png` into the folder (here when none is given), in about a minute.
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional as F

import orograph as og
from orograph import figures


def main(folder: Path) -> None:
    """Train, decompose layer by layer, draw the surface."""
    torch.manual_seed(0)
    data = og.load_data("mnist-5k", subset_size=1_000)
    model = og.build_model("ResNet", depth=8, width_factor=1, activation="gelu", init_seed=0)
    (images, labels), (test_images, test_labels) = data.train[0], data.test[0]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(3):
        for batch in torch.randperm(len(images)).split(50):
            optimiser.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    model.eval()
    accuracy = (model(test_images).argmax(1) == test_labels).float().mean().item()
    print(f"accuracy on {len(test_images)} test images: {accuracy:.1%}")

    few = [(images[:25], labels[:25])]  # BatchNorm stays in eval mode: one fixed function of θ
    for name in ("*", "conv1.*", "stage1.*", "stage2.*", "stage3.*", "fc.*"):
        operator = og.HessianOperator(model, F.cross_entropy, few, parameters=name)
        spectrum = og.lanczos(operator, k=1, which="LA", tolerance=1e-2)
        print(f"{name:>9}: {operator.size:6,} parameters, λ_max = {spectrum.eigenvalues[0]:.4f} ± {spectrum.residuals[0]:.1e}")

    objective = og.Objective(model, F.cross_entropy, few)
    directions = og.filter_normalised(objective.layout, objective.theta, seed=0)
    seen = og.surface(objective, objective.theta, directions, radius=0.3, points=11)
    arrays = {"x": seen.x, "y": seen.y, "train_loss": seen.losses, "marks": seen.marks}
    figure = figures.surface(arrays, "ResNet-8 along two filter-normalised directions", marks=["where training stopped"])
    figures.save(figure, folder / "resnet-surface")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
