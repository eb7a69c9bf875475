"""Further networks, losses and data as people bring them: the second half of the table that `awkward_cases` begins."""

from typing import Any

import torch
from awkward_cases import WEIGHTS, Apply, N, Tokens, case, net, padded, points, split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def has_second_derivative_of_grid_sample() -> bool:
    grid = torch.zeros(1, 1, 1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(
        F.grid_sample(torch.ones(1, 1, 2, 2), grid, align_corners=False).sum(), grid, create_graph=True
    )
    try:
        torch.autograd.grad(slope.sum(), grid, allow_unused=True)
    except RuntimeError:
        return False
    return True


# Losses


@case("focal loss with class weights")
def _() -> Any:
    def focal(out: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
        log = F.log_softmax(out, 1).gather(1, target[:, None])[:, 0]
        return (-WEIGHTS.to(out)[target] * (1 - log.exp()) ** gamma * log).mean()

    return net(), focal, split(*points(), 7, 5)


@case(
    "label smoothing with ignored targets",
    total=lambda call, batches: (
        sum(F.cross_entropy(call(a), b, ignore_index=2, label_smoothing=0.1, reduction="sum") for a, b in batches)
        / sum(int((b != 2).sum()) for _, b in batches)
    ),
)
def _() -> Any:
    return Tokens(), nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1), padded(2)


@case("CTC loss", refused="ctc_loss")
def _() -> Any:
    x = torch.randn(N, 6, 4)

    def ctc(out: Tensor, target: Tensor) -> Tensor:
        lengths = torch.full((len(target),), 6), torch.full((len(target),), 2)
        return F.ctc_loss(out.log_softmax(2).transpose(0, 1), target, *lengths)

    return net(), ctc, split(x, torch.randint(1, 3, (N, 2)), 7, 5)


@case("triplets of inputs")
def _() -> Any:
    x = tuple(torch.randn(N, 4) for _ in range(3))
    return Siamese(), lambda out, _: F.triplet_margin_loss(*out, margin=9.0), [(x, torch.zeros(N))]


@case("a Siamese network with a cosine loss", smooth=False)
def _() -> Any:
    x = torch.randn(N, 4), torch.randn(N, 4)
    return Siamese(), lambda out, t: F.cosine_embedding_loss(*out, t), [(x, torch.randint(2, (N,)) * 2 - 1)]


@case(
    "a contrastive loss with a temperature of its own",
    total=lambda call, batches: sum(len(b) * _clip(call(a)) for a, b in batches) / N,
)
def _() -> Any:
    return net(last=4), Clip(), split(*points(), 6, 6)


@case("a loss with a layer of its own")
def _() -> Any:
    return net(last=4), Proxies(), split(*points(), 7, 5)


@case("a loss that gives a tuple", refused="tuple")
def _() -> Any:
    return net(), lambda out, t: (F.cross_entropy(out, t), {"accuracy": 0.5}), split(*points())


@case("a loss that gives a dict", refused="dict")
def _() -> Any:
    return net(), lambda out, t: {"loss": F.cross_entropy(out, t)}, split(*points())


@case("a loss that gives a number", refused="float|number|gradient")
def _() -> Any:
    return net(), lambda out, t: F.cross_entropy(out, t).item(), split(*points())


@case("a penalty on the weights in the loss", refused="the loss reads the parameters .0.(weight|bias)")
def _() -> Any:
    model = net()
    return (
        model,
        lambda out, t: F.cross_entropy(out, t) + 0.1 * sum(p.square().sum() for p in model.parameters()),
        split(*points()),
    )


@case("a loss that calls the model again", refused="the loss reads the parameters .0.(weight|bias)")
def _() -> Any:
    model = net()
    x, y = points()
    return model, lambda out, t: F.cross_entropy(out, t) + model(x + 0.1).square().mean(), split(x, y)


@case("a loss module that holds the model", refused="the loss reads the parameters .0.(weight|bias)")
def _() -> Any:
    model = net()
    return model, Holding(model), split(*points())


@case("Gaussian likelihood of two outputs")
def _() -> Any:
    x, _ = points()
    return Heads(), lambda out, t: F.gaussian_nll_loss(out["mean"], t, out["more"]["variance"]), split(x, torch.randn(N, 2), 7, 5)


@case("a masked mean", total=lambda call, batches: sum(len(b) * _masked(call(a), b) for a, b in batches) / N)
def _() -> Any:
    x, _ = points()
    target = torch.randn(N, 3).masked_fill(torch.rand(N, 3) < 0.3, float("nan"))
    return net(), _masked, split(x, target, 7, 5)


@case("losses of several depths in a list")
def _() -> Any:
    return Depths(), lambda outs, t: sum(F.cross_entropy(out, t) for out in outs), split(*points(), 7, 5)


@case("a model that gives its own loss", total=lambda call, batches: sum(len(b) * call(a) for a, b in batches) / N)
def _() -> Any:
    x, y = points()
    return OwnLoss(), lambda out, _: out, [((a, b), b) for a, b in split(x, y, 7, 5)]


@case("Poisson likelihood")
def _() -> Any:
    x, _ = points()
    return net(), nn.PoissonNLLLoss(full=True), split(x, torch.randint(4, (N, 3)).float(), 7, 5)


@case("a log-determinant in the loss", total=lambda call, batches: sum(len(b) * _volume(call(a), b) for a, b in batches) / N)
def _() -> Any:
    return net(), _volume, split(*points(), 6, 6)


@case("two targets in a tuple", refused="targets")
def _() -> Any:
    x, y = points()
    return net(), lambda out, t: F.cross_entropy(out, t[0]), [(x, (y, y))]


# Networks


@case("weight-standardised convolutions")
def _() -> Any:
    layers = [Standardised(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)]
    return nn.Sequential(*layers), F.cross_entropy, split(torch.randn(N, 1, 4, 4), torch.randint(3, (N,)), 7, 5)


@case("spectral_norm in train mode")
def _() -> Any:
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)).train()
    model(torch.randn(2, 4))
    return model, F.cross_entropy, split(*points(), 7, 5)


@case("a GRU of packed sequences")
def _() -> Any:
    return (
        Packed(),
        F.cross_entropy,
        [((torch.randn(4, 3, 3), torch.tensor([3, 1, 2, 1])), torch.randint(2, (4,))) for _ in "ab"],
    )


@case("a bidirectional LSTM with projections")
def _() -> Any:
    return Projected(), F.cross_entropy, split(torch.randn(N, 2, 3), torch.randint(2, (N,)), 7, 5)


@case("time first, targets of the sequences")
def _() -> Any:
    return TimeFirst(), F.cross_entropy, [(torch.randn(5, 4, 3), torch.randint(2, (4,))) for _ in range(3)]


@case("edges of a graph")
def _() -> Any:
    batches = [((torch.randn(n, 4), torch.randint(n, (2, 3 * n))), torch.randint(3, (n,))) for n in (7, 5)]
    return Edges(), F.cross_entropy, batches


@case("EmbeddingBag with offsets")
def _() -> Any:
    return Offsets(), F.cross_entropy, [((torch.randint(6, (14,)), torch.tensor([0, 2, 5, 9, 10])), torch.randint(3, (5,)))]


@case("Embedding with sparse gradients")
def _() -> Any:
    return (
        nn.Sequential(nn.Embedding(6, 4, sparse=True), nn.Flatten(), nn.Tanh(), nn.Linear(12, 3)),
        F.cross_entropy,
        split(torch.randint(6, (N, 3)), torch.randint(3, (N,))),
    )


@case("a sparse matrix among the buffers")
def _() -> Any:
    x, y = points()
    return SparseGraph(), F.cross_entropy, [(x, y)]


@case("an ensemble by vmap in forward")
def _() -> Any:
    return Ensemble(), F.cross_entropy, split(*points(), 7, 5)


@case("a network whose weights another one makes")
def _() -> Any:
    return Hyper(), F.cross_entropy, split(*points(), 7, 5)


@case("a derivative by the inputs in forward")
def _() -> Any:
    x, _ = points()
    return Physics(), F.mse_loss, split(x, torch.randn(N, 1), 7, 5)


@case("complex numbers made of real weights")
def _() -> Any:
    return nn.Sequential(nn.Linear(4, 4), Fourier(), nn.Linear(4, 3)), F.cross_entropy, split(*points(), 7, 5)


@case("routing to the best expert", smooth=False)
def _() -> Any:
    return Experts(), F.cross_entropy, split(*points(), 7, 5)


@case("rotary attention with a causal mask")
def _() -> Any:
    return Causal(), F.cross_entropy, split(torch.randn(N, 4, 4), torch.randint(3, (N,)), 7, 5)


@case("a spatial transformer", refused="" if has_second_derivative_of_grid_sample() else "grid_sampler", smooth=False)
def _() -> Any:
    return Spatial(), F.cross_entropy, split(torch.randn(N, 1, 4, 4), torch.randint(3, (N,)), 7, 5)


@case("distances by cdist", refused="_cdist_backward", smooth=False)
def _() -> Any:
    return Distances(), F.cross_entropy, split(*points(), 7, 5)


@case("a gradient that is reversed", refused="Reverse|'1|Apply")
def _() -> Any:
    return net(middle=Apply(Reverse)), F.cross_entropy, split(*points())


@case("a branch that is detached", refused="b.(weight|bias).*detached")
def _() -> Any:
    return Detached(), F.cross_entropy, split(*points())


@case("a part under no_grad", refused="a.(weight|bias).*no_grad")
def _() -> Any:
    return NoGrad(), F.cross_entropy, split(*points())


@case("a fixed point whose last step alone is differentiated", refused="[ab].weight.*no_grad")
def _() -> Any:
    return FixedPoint(), F.cross_entropy, split(*points())


@case("fake quantisation", refused="FakeQuantize|rounding", smooth=False)
def _() -> Any:
    fake = torch.ao.quantization.FakeQuantize()
    model = nn.Sequential(nn.Linear(4, 5), fake, nn.Tanh(), nn.Linear(5, 3))
    model(torch.randn(4, 4))
    return model, F.cross_entropy, split(*points())


@case("Gumbel softmax", refused="random|two outputs")
def _() -> Any:
    return net(middle=Gumbel()), F.cross_entropy, split(*points())


@case("reentrant checkpointing")
def _() -> Any:
    return Reentrant(), F.cross_entropy, split(*points(), 7, 5)


@case("a compiled layer inside")
def _() -> Any:
    return (
        nn.Sequential(torch.compile(nn.Linear(4, 5), backend="eager"), nn.Tanh(), nn.Linear(5, 3)),
        F.cross_entropy,
        split(*points()),
    )


@case("a scripted layer inside", refused="script")
def _() -> Any:
    return nn.Sequential(torch.jit.script(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)), F.cross_entropy, split(*points())


@case("weights kept in a list too", refused="forward reads the parameters .a.(weight|bias)")
def _() -> Any:
    return Listed(), F.cross_entropy, split(*points())


@case("autocast to bfloat16 inside")
def _() -> Any:
    return Autocast(), F.cross_entropy, split(*points())


@case("a hook that scales activations")
def _() -> Any:
    model = net()
    model[0].register_forward_hook(lambda module, arguments, output: output * 1.5)
    return model, F.cross_entropy, split(*points(), 7, 5)


@case("weights that are not contiguous")
def _() -> Any:
    model = net()
    model[0].weight = nn.Parameter(torch.randn(4, 5).t())
    return model, F.cross_entropy, split(*points(), 7, 5)


@case("a parameter without entries")
def _() -> Any:
    model = net()
    model.register_parameter("empty", nn.Parameter(torch.empty(0)))
    return model, F.cross_entropy, split(*points(), 7, 5)


@case("a frozen layer")
def _() -> Any:
    model = net()
    model[0].requires_grad_(False)
    return model, F.cross_entropy, split(*points(), 7, 5)


@case("a cache in a list")
def _() -> Any:
    return KeepsList(), F.cross_entropy, split(*points(), 7, 5)


# Data


@case("None among the inputs")
def _() -> Any:
    x, y = points()
    return Optional(), F.cross_entropy, [((a, None), b) for a, b in split(x, y, 7, 5)]


@case("strings among the inputs, unlike from batch to batch")
def _() -> Any:
    x, y = points()
    return (
        Optional(),
        F.cross_entropy,
        [((a, None, kind), b) for (a, b), kind in zip(split(x, y, 6, 6), ("tanh", "sin"), strict=True)],
    )


@case("inputs that require gradients")
def _() -> Any:
    x, y = points()
    return net(), F.cross_entropy, [(x.requires_grad_(), y)]


@case("a number for each batch among the inputs")
def _() -> Any:
    x, y = points()
    return (
        Scaled(),
        F.cross_entropy,
        [((a, torch.tensor(s)), b) for (a, b), s in zip(split(x, y, 11, 1), (0.5, 2.0), strict=True)],
    )


@case("images in channels-last order")
def _() -> Any:
    x = torch.randn(N, 2, 4, 4).to(memory_format=torch.channels_last)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)).to(
        memory_format=torch.channels_last
    )
    return model, F.cross_entropy, split(x, torch.randint(3, (N,)), 7, 5)


@case("an adapter that begins at zero")
def _() -> Any:
    return nn.Sequential(Adapter(), nn.Tanh(), nn.Linear(5, 3)), F.cross_entropy, split(*points(), 7, 5)


@case("a loss that keeps a log")
def _() -> Any:
    log: dict[str, list[int]] = {"lengths": []}

    def logged(out: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        log["lengths"].append(len(out))
        return F.cross_entropy(out, target, reduction=reduction)

    return net(), logged, split(*points(), 7, 5)


# The pieces


class Adapter(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 5)
        self.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.a.T @ self.b.T


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.body(x) for x in inputs)


def _clip(out: Tensor, scale: float = 0.3) -> Tensor:
    near = F.normalize(out, dim=1)
    return F.cross_entropy(near @ near.T / scale, (torch.arange(len(out)) + 1) % len(out))


class Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.3))

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return _clip(out, self.temperature)  # type: ignore[arg-type]


class Proxies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proxies = nn.Linear(4, 3)

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.proxies(out), target)


class Holding(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out, target) + self.model[0].weight.square().sum()  # type: ignore[index]


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).tanh()
        return {"mean": self.b(h), "more": {"variance": F.softplus(self.c(h)) + 0.1, "name": "variance"}}


def _masked(out: Tensor, target: Tensor) -> Tensor:
    there = ~target.isnan()
    return ((out - target.nan_to_num()) * there).square().sum() / there.sum()


class Depths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.a(x).tanh()
        return [self.b(h), self.d(self.c(h).tanh())]


class OwnLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.body(x), labels)


def _volume(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out, target) - 0.1 * torch.logdet(out.T @ out + torch.eye(3).to(out))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.r, self.o = nn.GRU(3, 2, batch_first=True), nn.Linear(2, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.o(self.r(packed)[1][-1])


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.r, self.o = nn.LSTM(3, 3, proj_size=2, bidirectional=True, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(x)[0].mean(1))


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.r, self.o = nn.GRU(3, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(x)[0][-1])


class Edges(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        def spread(h: Tensor) -> Tensor:
            return h + torch.zeros_like(h).index_add(0, edges[1], h[edges[0]])

        return self.b(spread(self.a(x)).tanh())


class Offsets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.EmbeddingBag(6, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        return self.o(self.e(ids, offsets).tanh())


class SparseGraph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)
        self.register_buffer("adjacency", (torch.rand(N, N) < 0.3).float().to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sparse.mm(self.adjacency, self.a(x)).tanh())


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.o = nn.Parameter(torch.randn(3, 4, 4) * 0.5), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.vmap(lambda w: (x @ w).tanh())(self.w).mean(0))


class Hyper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.code, self.make, self.inner = nn.Parameter(torch.randn(2)), nn.Linear(2, 15), [nn.Linear(4, 3)]

    def forward(self, x: Tensor) -> Tensor:
        made = self.make(self.code)
        weights = {"weight": made[:12].view(3, 4), "bias": made[12:]}
        return torch.func.functional_call(self.inner[0], weights, (x,)).sin()


class Physics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net(last=1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.requires_grad_()
            u = self.body(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return u + slope.square().sum(1, keepdim=True)


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.w), n=4).tanh()


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.ModuleList([nn.Linear(4, 3) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 3)
        for index, expert in enumerate(self.experts):
            rows = chosen == index
            out[rows] = expert(x[rows]).sin()
        return out * weight[:, None]


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype)

        def turned(h: Tensor) -> Tensor:
            a, b = h.chunk(2, -1)
            return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)

        q, k, v = self.q(x).chunk(3, -1)
        return self.o(F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)[:, -1])


class Spatial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(16, 6), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.a(x.flatten(1)).view(-1, 2, 3), list(x.shape), align_corners=False)
        return self.o(F.grid_sample(x, grid, align_corners=False).flatten(1))


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(x, self.centres)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return -slope


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * self.b(x).sigmoid().detach()


class NoGrad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.a(x).tanh()
        return self.b(h)


class FixedPoint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = torch.zeros_like(x)
            for _ in range(9):
                h = (self.a(x) + self.b(h)).tanh()
        return self.o((self.a(x) + self.b(h)).tanh())


class Gumbel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.gumbel_softmax(x)


class Reentrant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Any = checkpoint(lambda each: each.tanh(), self.a(x), use_reentrant=True)
        return self.b(hidden)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.weights = [self.a.weight, self.a.bias]

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.linear(x, *self.weights).tanh())


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.body(x).float()


class KeepsList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.seen = nn.Linear(4, 5), nn.Linear(5, 3), []

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).tanh()
        self.seen.append(h)
        return self.b(h + 0.1 * self.seen[-1])


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None, kind: str = "tanh") -> Tensor:
        h = self.a(x if mask is None else x * mask)
        return self.b(h.tanh() if kind == "tanh" else 2 * h.sin())


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.body(x * scale)
