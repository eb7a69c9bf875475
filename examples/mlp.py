"""The published MLP: train it on embedded MNIST images, then everything about the minimum, and the classes behind its sharp
directions.

    python examples/mlp.py [FOLDER]

writes `mlp-spectrum.png` and `mlp-classes.png` into the folder (here when none is given), in about half a minute.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import orograph as og
from orograph import figures


def main(folder: Path) -> None:
    """Train, measure, attribute, draw."""
    torch.manual_seed(0)
    data = og.load_data("mnist-5k")
    model = og.build_model("mlp", init_seed=0)
    (images, labels), (test_images, test_labels) = data.train[0], data.test[0]
    optimiser = torch.optim.Adam(model.parameters(), lr=1.5e-3)
    for _ in range(30):
        for batch in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    accuracy = (model(test_images).argmax(1) == test_labels).float().mean().item()
    print(f"accuracy on {len(test_images)} test images: {accuracy:.1%}")

    found = og.measure(model, F.cross_entropy, data.train, k=20)
    print(f"L = {found.loss:.4f}, ‖∇L‖ = {found.gradient_norm:.1e}, λ_max = {found.lambda_max:.4f}")
    print(f"tr H = {found.trace.value:.4f} ± {found.trace.error:.4f}, {found.index.count} negative eigenvalues at least")
    spectrum, density = found.spectrum, found.density
    figure = figures.spectrum(
        spectrum.eigenvalues,
        spectrum.residuals,
        noise_level=spectrum.noise_level,
        density=(density.grid, density.values, density.errors),
        title="the published MLP on 4,000 MNIST images",
    )
    figures.save(figure, folder / "mlp-spectrum")

    objective = og.Objective(model, F.cross_entropy, data.train)
    shares = og.class_shares(objective, objective.theta, spectrum).shares.cpu()
    with figures.styled():
        drawing, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
        picture = axes.imshow(shares / spectrum.eigenvalues, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axes.set(title="Share of each class in each eigenvalue", xlabel="eigenpair", ylabel="class")
        axes.set_xticks(range(len(spectrum.eigenvalues)), range(1, len(spectrum.eigenvalues) + 1))
        axes.set_yticks(range(len(data.classes)), data.classes)
        axes.grid(visible=False)
        drawing.colorbar(picture, label="of λ")
    figures.save(drawing, folder / "mlp-classes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
