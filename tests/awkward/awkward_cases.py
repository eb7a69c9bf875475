"""Networks, losses and data as people bring them: all that has given wrong numbers or false reasons somewhere, small.

Each case says how it is built, and either what is right (the loss of a batch as the user wrote it, averaged over batches by their
size unless the case says otherwise) or with which words it is refused. Nothing here uses the library.
"""

import functools
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

N = 12
Batches = list[tuple[Any, Tensor]]


@dataclass(frozen=True)
class Case:
    """One awkward thing.

    Attributes:
        name: what is awkward about it.
        build: module, loss as passed, data.
        refused: what the refusal says (a pattern), empty where there is a right number.
        total: `(call, batches) →` L with the user's own loss, where that is not the mean over batches by size;
            `call(inputs)` runs the module.
        frozen: names of parameters and rows of them that do not move.
        smooth: whether the loss is twice continuously differentiable at θ.
    """

    name: str
    build: Callable[[], tuple[nn.Module, Any, Batches]]
    refused: str = ""
    total: Callable[[Callable[[Any], Any], Batches], Tensor] | None = None
    frozen: tuple[tuple[str, int], ...] = ()
    smooth: bool = True


CASES: dict[str, Case] = {}


def case(name: str, **about: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(build: Callable[[], Any]) -> Callable[[], Any]:
        def seeded() -> Any:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return build()

        CASES[name] = Case(name, seeded, **about)
        return build

    return keep


def net(*, last: int = 3, middle: nn.Module | None = None, hidden: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, hidden), middle or nn.Tanh(), nn.Linear(hidden, last))


def points(n: int = N, classes: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 4), torch.randint(classes, (n,))


def split(x: Tensor, y: Tensor, *lengths: int) -> Batches:
    return list(zip(x.split(lengths or (len(x),)), y.split(lengths or (len(y),)), strict=True))


# Losses


@case("several batches of unequal length")
def _() -> Any:
    return net(), F.cross_entropy, split(*points(), 5, 4, 3)


@case("ignored targets", total=lambda call, batches: _counted(call, batches, -100))
def _() -> Any:
    return Tokens(), nn.CrossEntropyLoss(), padded(-100)


@case("ignored targets under another number", total=lambda call, batches: _counted(call, batches, 255))
def _() -> Any:
    return Tokens(), functools.partial(F.cross_entropy, ignore_index=255), padded(255)


@case("class weights", total=lambda call, batches: _weighted(call, batches))
def _() -> Any:
    return net(), nn.CrossEntropyLoss(weight=WEIGHTS.clone()), split(*points(), 7, 5)


@case("class weights in a partial", total=lambda call, batches: _weighted(call, batches))
def _() -> Any:
    return net(), functools.partial(F.cross_entropy, weight=WEIGHTS.clone()), split(*points(), 7, 5)


@case("class weights with label smoothing", total=lambda call, batches: _weighted(call, batches, label_smoothing=0.1))
def _() -> Any:
    return net(), nn.CrossEntropyLoss(weight=WEIGHTS.clone(), label_smoothing=0.1), split(*points(), 7, 5)


@case("probabilities as targets")
def _() -> Any:
    x, _ = points()
    return net(), F.cross_entropy, split(x, torch.rand(N, 3).softmax(1), 8, 4)


@case("KLDivLoss with batchmean")
def _() -> Any:
    x, _ = points()
    return (
        nn.Sequential(net(), nn.LogSoftmax(1)),
        nn.KLDivLoss(reduction="batchmean"),
        split(x, torch.rand(N, 3).softmax(1), 8, 4),
    )


@case("a sum", total=lambda call, batches: sum(F.mse_loss(call(a), b.to(call(a).dtype), reduction="sum") for a, b in batches))
def _() -> Any:
    x, _ = points()
    return net(), nn.MSELoss(reduction="sum"), split(x, torch.randn(N, 3), 8, 4)


@case(
    "a sum in a function",
    total=lambda call, batches: sum(F.mse_loss(call(a), b.to(call(a).dtype), reduction="sum") for a, b in batches),
)
def _() -> Any:
    x, _ = points()
    return net(), lambda out, target: F.mse_loss(out, target, reduction="sum"), split(x, torch.randn(N, 3), 8, 4)


@case("a mean in a function")
def _() -> Any:
    return net(), lambda out, target: F.cross_entropy(out, target), split(*points(), 8, 4)


@case("BCEWithLogitsLoss with weights of both kinds")
def _() -> Any:
    x, _ = points()
    return (
        net(),
        nn.BCEWithLogitsLoss(weight=WEIGHTS.clone(), pos_weight=WEIGHTS.flip(0)),
        split(x, torch.rand(N, 3).round(), 8, 4),
    )


@case("Huber loss")
def _() -> Any:
    x, _ = points()
    return net(), nn.HuberLoss(delta=1.7), split(x, torch.randn(N, 3), 8, 4)


@case("multi-margin loss", refused="multi_margin_loss_backward", smooth=False)  # torch has its first derivative alone
def _() -> Any:
    return net(), nn.MultiMarginLoss(), split(*points())


@case("one_hot in the loss")
def _() -> Any:
    def brier(out: Tensor, target: Tensor) -> Tensor:
        return (out.softmax(1) - F.one_hot(target, 3)).square().sum(1).mean()

    return net(), brier, split(*points(), 8, 4)


@case("a contrastive loss", total=lambda call, batches: sum(len(b) * contrast(call(a), b) for a, b in batches) / N)
def _() -> Any:
    return net(last=4), contrast, split(*points(), 6, 6)


@case(
    "a contrastive loss with one value a sample",
    total=lambda call, batches: sum(contrast(call(a), b, "sum") for a, b in batches) / N,
)
def _() -> Any:
    return net(last=4), ContrastPerSample(), split(*points(), 6, 6)


@case("a pooled loss")
def _() -> Any:
    def spread(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out, target) + out.var(0).sum()

    return net(), spread, split(*points(), 6, 6)


@case("outputs (n, 1) against targets (n,)", refused=r"\(n, 1\)|shape|broadcast")
def _() -> Any:
    x, _ = points()
    return net(last=1), nn.MSELoss(), split(x, torch.randn(N))


@case("a loss without gradient", refused="depend|detach|gradient")
def _() -> Any:
    return net(), lambda out, target: F.cross_entropy(out.detach(), target), split(*points())


@case("an accuracy for a loss", refused="depend|detach|gradient|loss")
def _() -> Any:
    return net(), lambda out, target: (out.argmax(1) == target).float().mean(), split(*points())


# Networks


@case("ReLU", smooth=False)
def _() -> Any:
    return net(middle=nn.ReLU(), hidden=8), F.cross_entropy, split(*points(), 8, 4)


@case("SiLU and Mish")
def _() -> Any:
    return (
        nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4), nn.Mish(), nn.Linear(4, 3)),
        F.cross_entropy,
        split(*points()),
    )


@case("a recurrent network, time first")
def _() -> Any:
    batches = [(torch.randint(7, (3, 4)), torch.randint(7, (3, 4))) for _ in range(3)]
    return Recurrent(), nn.CrossEntropyLoss(), batches


@case("a recurrent network, batch first")
def _() -> Any:
    return Last("LSTM"), F.cross_entropy, split(torch.randn(N, 3, 3), torch.randint(2, (N,)), 8, 4)


@case("a GRU over batches of unequal length")
def _() -> Any:
    return Last("GRU"), nn.CrossEntropyLoss(), [(torch.randn(4, length, 3), torch.randint(2, (4,))) for length in (2, 4)]


@case("outputs written into a tensor made before")
def _() -> Any:
    return Decoder(), nn.CrossEntropyLoss(ignore_index=-1), split(torch.randint(7, (N, 3)), torch.randint(7, (N, 3)))


@case("Embedding with padding_idx", frozen=(("e.weight", 0),))
def _() -> Any:
    ids = torch.randint(6, (N, 3))
    ids[0] = torch.tensor([1, 2, 3])
    return Bag(), F.cross_entropy, split(ids, torch.randint(3, (N,)), 7, 5)


@case("EmbeddingBag")
def _() -> Any:
    return (
        nn.Sequential(nn.EmbeddingBag(6, 4), nn.Tanh(), nn.Linear(4, 3)),
        F.cross_entropy,
        split(torch.randint(6, (N, 3)), torch.randint(3, (N,))),
    )


@case("weight_norm")
def _() -> Any:
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)), F.cross_entropy, split(*points())


@case("weight_norm as a parametrization")
def _() -> Any:
    return (
        nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
        F.cross_entropy,
        split(*points()),
    )


@case("spectral_norm")
def _() -> Any:
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)), F.cross_entropy, split(*points())


@case("spectral_norm as a parametrization")
def _() -> Any:
    return (
        nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
        F.cross_entropy,
        split(*points()),
    )


@case("orthogonal parametrization", refused="parametri|orthogonal|forward|double|differentia|trace|")
def _() -> Any:
    return (
        nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 3)),
        F.cross_entropy,
        split(*points()),
    )


@case("BatchNorm")
def _() -> Any:
    x, y = points()
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    model(x)
    return model, F.cross_entropy, split(x, y, 11, 1)


@case("BatchNorm without running statistics")
def _() -> Any:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Tanh(), nn.Linear(5, 3))
    return model, F.cross_entropy, split(*points(), 6, 6)


@case("InstanceNorm, GroupNorm, LayerNorm")
def _() -> Any:
    layers = [
        nn.Conv1d(1, 4, 3),
        nn.InstanceNorm1d(4),
        nn.Tanh(),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.LayerNorm(8),
        nn.Linear(8, 3),
    ]
    x, y = points()
    return nn.Sequential(*layers), F.cross_entropy, split(x[:, None], y)


@case("attention")
def _() -> Any:
    return Attention(), F.cross_entropy, split(torch.randn(N, 5, 4), torch.randint(3, (N,)), 8, 4)


@case("a TransformerEncoder with a padding mask", smooth=False)
def _() -> Any:
    ids, y = torch.randint(9, (N, 5)), torch.randint(3, (N,))
    pad = torch.arange(5)[None] >= torch.randint(2, 5, (N, 1))
    return Encoder(), F.cross_entropy, [((ids, pad), y)]


@case("tied weights")
def _() -> Any:
    return Tied(), nn.CrossEntropyLoss(), split(torch.randint(6, (N, 3)), torch.randint(6, (N, 3)))


@case("control flow that depends on data")
def _() -> Any:
    return Branching(), F.cross_entropy, split(*points())


@case("gradient checkpointing")
def _() -> Any:
    return Checkpointed(), F.cross_entropy, split(*points())


@case("a parameter without dimensions")
def _() -> Any:
    return Temperature(), F.cross_entropy, split(*points())


@case("a graph in one batch")
def _() -> Any:
    adjacency = (torch.rand(N, N) < 0.3).float()
    x, y = points()
    return Graph(), F.cross_entropy, [((x, adjacency), y)]


@case("a custom function, right and twice differentiable")
def _() -> Any:
    return net(middle=Apply(Cube)), F.cross_entropy, split(*points())


@case("a custom function that is differentiable once", refused="Once|'1|Apply|twice")
def _() -> Any:
    return net(middle=Apply(Once)), F.cross_entropy, split(*points())


@case("a custom function whose second derivative is wrong", refused="Wrong|'1|Apply")
def _() -> Any:
    return net(middle=Apply(Wrong)), F.cross_entropy, split(*points())


@case("a straight-through rounding", refused="Round|'1|Apply", smooth=False)
def _() -> Any:
    return net(middle=Apply(Round)), F.cross_entropy, split(*points())


# What forward and eval() do besides


@case("LoRA that eval() merges")
def _() -> Any:
    return nn.Sequential(LowRank(4, 5, 2), nn.Tanh(), nn.Linear(5, 3)).train(), nn.CrossEntropyLoss(), split(*points())


@case("inputs normalised in place")
def _() -> Any:
    return nn.Sequential(Normalise(), net()), F.cross_entropy, split(*points(), 8, 4)


@case("inputs clamped in place")
def _() -> Any:
    return nn.Sequential(Clamp(), net()), F.cross_entropy, split(*points(), 8, 4)


@case("an in-place ReLU first", smooth=False)
def _() -> Any:
    return nn.Sequential(nn.ReLU(inplace=True), net()), F.cross_entropy, split(*points(), 8, 4)


@case("a buffer that counts and averages")
def _() -> Any:
    return nn.Sequential(Averaging(), net()), F.cross_entropy, split(*points(), 8, 4)


@case("attributes set by forward")
def _() -> Any:
    return nn.Sequential(Caching(), net()), F.cross_entropy, split(*points(), 8, 4)


@case("dropout that is always on", refused="random|two outputs")
def _() -> Any:
    return net(middle=AlwaysDropout()), F.cross_entropy, split(*points())


@case("dropout hidden in a dataclass", refused="random|two outputs")
def _() -> Any:
    return Structured("dataclass", 0.5), functools.partial(_pick, kind="dataclass"), split(*points())


# Inputs and outputs


@case("inputs in a mapping")
def _() -> Any:
    x, y = points()
    return Named(), F.cross_entropy, [({"x": x, "scale": torch.rand(N, 1) + 0.5}, y)]


@case("inputs in a UserDict with a flag and None")
def _() -> Any:
    x, y = points()
    return Named(), F.cross_entropy, [(UserDict({"x": x, "scale": None, "flag": True}), y)]


@case("outputs in a tuple")
def _() -> Any:
    return Structured("tuple"), functools.partial(_pick, kind="tuple"), split(*points(), 8, 4)


@case("outputs in a dict")
def _() -> Any:
    return Structured("dict"), functools.partial(_pick, kind="dict"), split(*points(), 8, 4)


@case("outputs in a dataclass")
def _() -> Any:
    return Structured("dataclass"), functools.partial(_pick, kind="dataclass"), split(*points(), 8, 4)


@case("a compiled module")
def _() -> Any:
    return torch.compile(net(), backend="eager"), F.cross_entropy, split(*points())


@case("DataParallel")
def _() -> Any:
    return nn.DataParallel(net()), F.cross_entropy, split(*points())


@case("a scripted module", refused="script")
def _() -> Any:
    return torch.jit.script(net()), F.cross_entropy, split(*points())


@case("a lazy module", refused="lazy|Lazy|initialis")
def _() -> Any:
    return nn.Sequential(nn.LazyLinear(3)), F.cross_entropy, split(*points())


@case("no trainable parameter", refused="trainable")
def _() -> Any:
    return net().requires_grad_(False), F.cross_entropy, split(*points())


# Numbers


@case("complex weights", refused="complex")
def _() -> Any:
    return nn.Sequential(nn.Linear(4, 3), Spectral(), nn.Linear(3, 3)), F.cross_entropy, split(*points())


@case("bfloat16")
def _() -> Any:
    return net().bfloat16(), F.cross_entropy, split(*points())


@case("float16")
def _() -> Any:
    return net().half(), F.cross_entropy, split(*points())


@case("half of the network in bfloat16", refused="bfloat16|dtype|precision")
def _() -> Any:
    return Mixed(), F.cross_entropy, split(*points())


@case("float64")
def _() -> Any:
    x, y = points()
    return net().double(), F.cross_entropy, split(x.double(), y)


@case("bytes made float32 inside")
def _() -> Any:
    return Bytes(), F.cross_entropy, split(torch.randint(256, (N, 4), dtype=torch.uint8), torch.randint(3, (N,)))


@case("a tensor as a plain attribute")
def _() -> Any:
    return Attribute(), F.cross_entropy, split(torch.randint(7, (N, 5)), torch.randint(3, (N,)))


# The pieces

WEIGHTS = torch.tensor([0.2, 1.0, 5.0])


def _counted(call: Callable[[Any], Any], batches: Batches, ignored: int) -> Tensor:
    total: Any = sum(F.cross_entropy(call(a), b, ignore_index=ignored, reduction="sum") for a, b in batches)
    return total / sum(int((b != ignored).sum()) for _, b in batches)


def _weighted(call: Callable[[Any], Any], batches: Batches, **more: Any) -> Tensor:
    outputs, targets = torch.cat([call(a) for a, _ in batches]), torch.cat([b for _, b in batches])
    return F.cross_entropy(outputs, targets, weight=WEIGHTS.to(outputs.dtype), **more)


def padded(ignored: int) -> Batches:
    ids, labels = torch.randint(6, (N, 4)), torch.randint(6, (N, 4))
    for row, length in enumerate(torch.randint(1, 5, (N,)).tolist()):
        labels[row, length:] = ignored
    return split(ids, labels, 8, 4)


def contrast(out: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    near = F.normalize(out, dim=1)
    return F.cross_entropy(near @ near.T * 3, (torch.arange(len(out)) + 1) % len(out), reduction=reduction)


class ContrastPerSample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reduction = "mean"

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return contrast(out, target, self.reduction)


def _pick(out: Any, target: Tensor, kind: str, reduction: str = "mean") -> Tensor:
    logits = {"tuple": lambda: out[0], "dict": lambda: out["logits"], "dataclass": lambda: out.logits}[kind]()
    return F.cross_entropy(logits, target, reduction=reduction)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(6, 3), nn.Linear(3, 6)

    def forward(self, ids: Tensor) -> Tensor:
        return self.o(self.e(ids).tanh()).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.r, self.o = nn.Embedding(7, 2), nn.LSTM(2, 2), nn.Linear(2, 7)

    def forward(self, ids: Tensor) -> Tensor:
        return self.o(self.r(self.e(ids))[0]).transpose(1, 2)


class Last(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.r, self.o = getattr(nn, kind)(3, 2, batch_first=True), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(x)[0][:, -1])


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.c, self.o = nn.Embedding(7, 2), nn.GRUCell(2, 2), nn.Linear(2, 7)

    def forward(self, ids: Tensor) -> Tensor:
        n, length = ids.shape
        h, out = self.o.weight.new_zeros(n, 2), self.o.weight.new_zeros(n, 7, length)
        for t in range(length):
            h = self.c(self.e(ids[:, t]), h)
            out[:, :, t] = self.o(h)
        return out


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(6, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.o(self.e(ids).mean(1).tanh())


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x).chunk(3, dim=-1)
        return self.o(F.scaled_dot_product_attention(q, k, v).mean(1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.0, batch_first=True)
        self.e, self.t, self.o = nn.Embedding(9, 4), nn.TransformerEncoder(layer, 1), nn.Linear(4, 3)

    def forward(self, ids: Tensor, pad: Tensor) -> Tensor:
        return self.o(self.t(self.e(ids), src_key_padding_mask=pad)[:, 0])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.o.weight = self.e.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.o(self.e(ids).tanh()).transpose(1, 2)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = [(self.a if row.sum() > 0 else self.b)(row) for row in x]
        return self.c(torch.stack(rows).tanh())


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Any = checkpoint(lambda each: self.a(each).tanh(), x, use_reentrant=False)
        return self.b(hidden)


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.t = nn.Linear(4, 3), nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) / self.t


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ self.b((adjacency @ self.a(x)).tanh())


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope * 3 * ctx.saved_tensors[0] ** 2


class Once(Cube):
    backward = staticmethod(torch.autograd.function.once_differentiable(Cube.backward))


class Wrong(Cube):
    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope * 3 * ctx.saved_tensors[0].detach() ** 2


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope


class Apply(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x)


class LowRank(nn.Linear):
    def __init__(self, i: int, o: int, rank: int) -> None:
        super().__init__(i, o)
        self.a, self.b = nn.Parameter(torch.randn(rank, i) * 0.4), nn.Parameter(torch.randn(o, rank) * 0.4)
        self.weight.requires_grad_(False), self.bias.requires_grad_(False)
        self.merged = False

    def train(self, mode: bool = True) -> "LowRank":
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (-1 if mode else 1) * (self.b @ self.a).data
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        return y if self.merged else y + x @ self.a.T @ self.b.T


class Normalise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        x /= 0.25
        return x


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_(0, 1)


class Averaging(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return x


class Caching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls, self.last = 0, None

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.last = self.calls + 1, x * 2
        return x


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Structured(nn.Module):
    def __init__(self, kind: str, p: float = 0.0) -> None:
        super().__init__()
        self.a, self.b, self.kind, self.p = nn.Linear(4, 5), nn.Linear(5, 3), kind, p

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).tanh()
        logits = self.b(F.dropout(h, self.p) if self.p else h)
        return {"tuple": (logits, h), "dict": {"logits": logits, "h": h}, "dataclass": Output(logits, h)}[self.kind]


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, scale: Tensor | None = None, flag: bool = False) -> Tensor:
        h = self.a(x if scale is None else x * scale)
        return self.b(h.tanh() if flag else h.sin())


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, dtype=torch.cfloat))

    def forward(self, h: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(h) * self.w, n=3).tanh()


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5).bfloat16(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.bfloat16()).float().tanh())


class Bytes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.float() / 255).tanh())


class Attribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o, self.mix = nn.Embedding(7, 4), nn.Linear(4, 3), torch.randn(4, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.o((self.e(ids) @ self.mix).tanh()).mean(1)
