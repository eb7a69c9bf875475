"""The networks that are measured besides the multilayer perceptron, and what each is measured on.

Five small ones go through every kind of work on a processor (`five`), trained for a few epochs so that their spectra look like
those of trained networks. The large ones have random weights and are for an accelerator: ResNet-50 (He et al., 2016) and GPT-2's
shape (Radford et al., 2019) with the batches on which curvlinops publishes its own times, the same shape with tied embeddings
on one text, and a decoder of a thousand million parameters. What grows is for the table of growth.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.data import load_data
from orograph.parameters import layout_of
from workload import Batches

VOCABULARY = 50_257  # of GPT-2


@dataclass(frozen=True)
class Case:
    """A module, and all data in one pair of tensors; answers the competitors as `Workload` does.

    Attributes:
        name: for tables.
        module: in eval mode, at θ.
        inputs: of all samples.
        targets: classes, or the next token at each place.
        unit: what a sample is.
    """

    name: str
    module: nn.Module
    inputs: Tensor
    targets: Tensor
    unit: str = "images"

    @property
    def count(self) -> int:
        return len(self.targets)

    @property
    def theta(self) -> Tensor:
        return layout_of(self.module).flatten(dict(self.module.named_parameters())).detach()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer of a perceptron, the input's and the output's included."""
        layers = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        return (layers[0].in_features, *(layer.out_features for layer in layers))

    @property
    def size(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def model(self) -> nn.Module:
        return self.module

    def batches(self, length: int) -> Batches:
        """Views of the data in order, in batches of `length`."""
        return list(zip(self.inputs.split(length), self.targets.split(length), strict=True))

    def trained(self, epochs: int = 5) -> dict[str, Tensor]:
        """Its state after some epochs of Adam in train mode, which fills the statistics of BatchNorm; in eval mode again."""
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(self.module.train().parameters(), lr=1.5e-3)
        for _ in range(epochs):
            for part in torch.randperm(self.count).to(self.inputs.device).split(20):
                optimizer.zero_grad()
                F.cross_entropy(self.module(self.inputs[part]), self.targets[part]).backward()
                optimizer.step()
        optimizer.zero_grad()
        self.module.eval()
        return self.module.state_dict()

    def at(self, state: Mapping[str, Tensor]) -> "Case":
        """With that state."""
        self.module.load_state_dict(state)
        return self

    def to(self, device: str) -> "Case":
        return replace(self, module=self.module.to(device), inputs=self.inputs.to(device), targets=self.targets.to(device))

    def __str__(self) -> str:
        return f"{self.name}: {self.size:,} parameters, {self.count:,} {self.unit}"


class Shortcut(nn.Module):
    """Layers, and a shortcut that changes shape where they do."""

    def __init__(self, layers: nn.Sequential, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.layers, same = layers, inner == outer and stride == 1
        project = (nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.beside = nn.Identity() if same else nn.Sequential(*project)

    def forward(self, values: Tensor) -> Tensor:
        return F.relu(self.layers(values) + self.beside(values))


def _normalised(inner: int, outer: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer)]


def _basic(inner: int, outer: int, stride: int) -> Shortcut:
    layers = (*_normalised(inner, outer, 3, stride), nn.ReLU(), *_normalised(outer, outer, 3))
    return Shortcut(nn.Sequential(*layers), inner, outer, stride)


def _bottleneck(inner: int, width: int, stride: int) -> Shortcut:
    layers = (*_normalised(inner, width, 1), nn.ReLU(), *_normalised(width, width, 3, stride), nn.ReLU())
    return Shortcut(nn.Sequential(*layers, *_normalised(width, 4 * width, 1)), inner, 4 * width, stride)


def _head(width: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


def small_resnet() -> nn.Module:
    """A BatchNorm ResNet of three blocks on 28 × 28 images, which its first layer halves."""
    stages = (_basic(16, 16, 1), _basic(16, 32, 2), _basic(32, 64, 2))
    return nn.Sequential(*_normalised(1, 16, 3, 2), nn.ReLU(), *stages, *_head(64, 10))


def resnet50(width: int = 64, depths: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> nn.Module:
    """He et al. (2016), with the stride in the middle of its bottlenecks; of ImageNet's shape as it is."""
    stages, inner = [], width
    for index, depth in enumerate(depths):
        for number in range(depth):
            stages.append(_bottleneck(inner, width << index, 2 if number == 0 and index else 1))
            inner = 4 * width << index
    stem = (*_normalised(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*stem, *stages, *_head(inner, classes))


class Block(nn.Module):
    """Causal self-attention and a perceptron, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, values: Tensor) -> Tensor:
        n, length, width = values.shape
        parts = self.attend(self.norm1(values)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        values = values + self.project(mixed.transpose(1, 2).reshape(n, length, width))
        return values + self.narrow(F.gelu(self.widen(self.norm2(values)), approximate="tanh"))


class GPT(nn.Module):
    """Tokens → logits `(n, tokens, length)` of the next one; as it is, GPT-2's smallest, with tied embeddings."""

    def __init__(
        self, tokens: int = VOCABULARY, width: int = 768, heads: int = 12, layers: int = 12, places: int = 1024, tied: bool = True
    ) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(tokens, width), nn.Embedding(places, width)
        self.blocks, self.norm = nn.Sequential(*(Block(width, heads) for _ in range(layers))), nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)
        self.readout = None if tied else nn.Linear(width, tokens, bias=False)

    def forward(self, text: Tensor) -> Tensor:
        values = self.norm(self.blocks(self.embed(text) + self.place.weight[: text.shape[1]]))
        logits = values @ self.embed.weight.T if self.readout is None else self.readout(values)
        return logits.transpose(1, 2)


class Encoder(nn.Module):
    """torch's own `TransformerEncoder` on the rows of 28 × 28 images."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.widen, self.place = nn.Linear(28, width), nn.Parameter(0.1 * torch.randn(28, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.readout = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.readout(self.encoder(self.widen(images.squeeze(1)) + self.place).mean(1))


def _perceptron(width: int = 128, hidden: int = 2, activation: type[nn.Module] = nn.Sigmoid) -> nn.Module:
    layers: list[nn.Module] = []
    for inner in (784, *[width] * (hidden - 1)):
        layers += [nn.Linear(inner, width), activation()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 10))


def _convolutional() -> nn.Module:
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.GELU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, padding=1), nn.GELU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 49, 10))


def _gpt_block() -> nn.Module:
    return GPT(tokens=256, width=64, heads=4, layers=1, places=32)


# The name, what makes it, and the samples that make a product of some hundredths of a second on two cores.
_FIVE: tuple[tuple[str, Callable[[], nn.Module], int], ...] = (
    ("MLP", _perceptron, 4000),
    ("CNN", _convolutional, 250),
    ("ResNet, BatchNorm", small_resnet, 100),
    ("GPT block", _gpt_block, 100),
    ("TransformerEncoder", Encoder, 125),
)
FIVE = tuple(name for name, _, _ in _FIVE)


def five(name: str, quick: bool = False) -> Case:
    """One of the five, on so many of the embedded images, or on made-up text whose next token follows from the last."""
    label, make, count = next(entry for entry in _FIVE if entry[0] == name)
    count = 20 if quick else count
    torch.manual_seed(0)
    module = make().eval()
    if label == "GPT block":
        return text_case(label, module, 256, count, 32)
    data = load_data("mnist-5k")
    return Case(label, module, data.train_inputs[:count].contiguous(), data.train_targets[:count].contiguous())


def text_case(name: str, module: nn.Module, tokens: int, count: int, length: int) -> Case:
    """Made-up text in which each token lies one to three beyond the last, around the vocabulary."""
    steps = torch.randint(1, 4, (count, length + 1), generator=torch.Generator().manual_seed(0))
    text = steps.cumsum(1) % tokens
    return Case(name, module.eval(), text[:, :-1].contiguous(), text[:, 1:].contiguous(), f"texts of {length} tokens")


# What grows: the sizes at which it is measured, each twice the last, and those that show that everything works.
GROWING: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "samples": ((7500, 15_000, 30_000, 60_000), (20, 40, 80, 160)),
    "width": ((64, 128, 256, 512, 1024, 2048), (4, 8, 16, 32)),
    "pairs": ((5, 10, 20, 40, 80), (1, 2, 4, 8)),
    "layers": ((1, 2, 4, 8, 16), (1, 2, 4, 8)),
    "vocabulary": ((512, 1024, 2048, 4096, 8192), (32, 64, 128, 256)),
}


def growing(series: str, size: int, quick: bool, device: str = "cpu") -> Case:
    """A perceptron on made-up images with so many of them, so wide, or so deep; the one of the five for pairs, trained a little,
    whatever their number; or the GPT block over so many tokens.
    """
    torch.manual_seed(0)
    name = f"{series} {size}"
    if series == "vocabulary":
        module = GPT(tokens=size, width=8 if quick else 64, heads=4, layers=1, places=32)
        return text_case(name, module, size, 2 if quick else 50, 32).to(device)
    if series == "pairs":
        case = five("MLP", quick)
        case.trained(1 if quick else 3)
        return case.to(device)
    count = size if series == "samples" else 20 if quick else 4000
    width = size if series == "width" else 8 if quick else 256 if series == "layers" else 128
    # tanh, because through 16 sigmoids nothing comes back that float32 can hold
    module = _perceptron(width, size if series == "layers" else 2, nn.Tanh)
    return Case(name, module.eval(), torch.rand(count, 1, 28, 28), torch.randint(10, (count,))).to(device)


def large(name: str, toy: bool = False, device: str = "cpu") -> Case:
    """`resnet50`, `nanogpt`, `gpt2` or `billion`, as large as they are, or as small as a test wants them."""
    torch.manual_seed(0)
    if name == "resnet50":
        module, count, side = (resnet50(4, (1,), 5), 4, 32) if toy else (resnet50(), 64, 224)
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(count, 3, side, side, generator=generator)
        targets = torch.randint(module[-1].out_features, (count,), generator=generator)  # type: ignore[index, union-attr, arg-type]
        return Case("ResNet-50", module.eval(), inputs, targets).to(device)
    shapes = {"nanogpt": {"tokens": 50_304}, "gpt2": {}, "billion": {"width": 2048, "heads": 16, "layers": 18}}
    options = {"tokens": 50, "width": 16, "heads": 2, "layers": 1, "places": 16} if toy else shapes[name]
    tokens = options.get("tokens", VOCABULARY)
    if name == "nanogpt":
        module, count, length = GPT(**options, tied=False), 2 if toy else 4, 8 if toy else 1024
        return text_case("nanoGPT", module, tokens, count, length).to(device)
    label, length = ("GPT-2's shape", 64) if name == "gpt2" else ("a decoder", 256)
    return text_case(label, GPT(**options), tokens, 1, 8 if toy else length).to(device)
