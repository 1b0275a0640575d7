"""The models of bench.py, and the ways that it compares: ours, the obvious ones, and the products alone."""

import copy

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from dvgs.gradients import GradientSimilarity
from dvgs.limits import largest_chunk
from dvgs.training.cuda_graphs import Captured
from dvgs.training.mish import Mish
from dvgs.training.models import (
    Autoencoder,
    make_classifier,
    make_conv_autoencoder,
    reconstruction_loss,
)
from dvgs.valuation.scoring import CHUNK_BYTES


def squared_error(prediction, y):
    return nn.functional.mse_loss(prediction, y, reduction="none").flatten(1).mean(dim=1)


def cross_entropy(prediction, y):
    return nn.functional.cross_entropy(prediction, y, reduction="none")


def normal(n, *shape, device):
    """n random samples, on a GPU sixteen times as many, because a few do not fill it."""
    return torch.randn(n if device.type == "cpu" else 16 * n, *shape, device=device)


def published_autoencoder(device):
    x = normal(4096, 978, device=device)
    return Autoencoder(978).to(device), reconstruction_loss, x, x


def adult_classifier(device):
    x = normal(16384, 108, device=device)
    return make_classifier(108, [100, 100], 2, seed=0).to(device), cross_entropy, x, (x[:, 0] > 0).long()


def conv_autoencoder(device):
    x = normal(1024, 3, 32, 32, device=device)
    return make_conv_autoencoder(seed=0).to(device), squared_error, x, x


MODELS = {
    "published autoencoder": (published_autoencoder, 150),
    "ADULT classifier": (adult_classifier, 50),
    "conv autoencoder": (conv_autoencoder, 8),
}


def target_gradient(model, loss, x, y):
    return torch.autograd.grad(loss(model(x), y).mean(), list(model.parameters()))


def ours(model, loss, x, y, gradient, chunk=None):
    engine = GradientSimilarity(model, loss)
    engine(x[:9], y[:9], gradient)  # tests which rules the layers allow
    as_scored = 1 << (CHUNK_BYTES[x.device.type] // engine.width).bit_length() - 1
    chunk = chunk or min(largest_chunk(10**6), as_scored)
    similarities = Captured(engine) if x.is_cuda else engine

    def run():
        squared = engine.squared_norm(gradient)
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            own = x[rows]
            similarities(own, own if y is x else y[rows], gradient, squared)

    return run


def as_published(model):
    """The same model with torch's own Mish."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, Mish):
                setattr(module, name, nn.Mish())
    return model


def by_vmap(model, loss, x, y, gradient, chunk):
    """Per-sample gradients are formed, compared and deleted."""
    model = as_published(model)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    targets = [g.flatten() for g in gradient]
    target_norm = torch.cat(targets).norm()

    def one(parameters, x, y):
        return loss(functional_call(model, parameters, (x[None],)), y[None]).sum()

    def run():
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            gradients = vmap(grad(one), (None, 0, 0))(parameters, x[rows], y[rows])
            dot = norm = 0
            for g, t in zip(gradients.values(), targets, strict=True):
                g = g.flatten(1)
                dot, norm = dot + g @ t, norm + g.square().sum(1)
            dot / (norm.sqrt() * target_norm)

    return run


def published_way(model, loss, x, y, gradient, chunk):
    """The way of the code published with the paper: vmap, all gradients joined, torch's own CosineSimilarity."""
    model = as_published(model)
    parameters = dict(model.named_parameters())
    target, similarity = torch.cat([g.flatten() for g in gradient]), nn.CosineSimilarity(dim=1)

    def one(parameters, x, y):
        return loss(functional_call(model, parameters, (x[None],)), y[None]).sum()

    def run():
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            gradients = vmap(grad(one), (None, 0, 0), randomness="same")(parameters, x[rows], y[rows])
            joined = torch.cat([g.flatten(1) for g in gradients.values()], dim=1)
            similarity(target.expand_as(joined), joined).detach()

    return run


def products_alone(model, x, gradient, chunk):
    """The matrix products that cannot be avoided: forward, backward except to the input, and with the target."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    weights, targets = [layer.weight.detach() for layer in layers], gradient[::2]
    a = [torch.randn(chunk, layer.in_features, device=x.device) for layer in layers]
    d = [torch.randn(chunk, layer.out_features, device=x.device) for layer in layers]
    out, back = [torch.empty_like(t) for t in d], [torch.empty_like(t) for t in a]

    def run():
        for _ in range(len(x) // chunk):
            for k, (w, g) in enumerate(zip(weights, targets, strict=True)):
                torch.mm(a[k], w.T, out=out[k])
                if k:
                    torch.mm(d[k], w, out=back[k])
                torch.mm(a[k], g.T, out=out[k]) if w.shape[0] <= w.shape[1] else torch.mm(d[k], g, out=back[k])

    return run


def passes_alone(model, loss, x, y):
    """Forward, and backward to the first layer, without any gradient of weights."""
    bias = next(p for name, p in model.named_parameters() if name.endswith("bias"))
    chunk = 16384 if x.is_cuda else 1024

    def run():
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            torch.autograd.grad(loss(model(x[rows]), y[rows]).sum(), bias)

    return run


def prepare(name, device):
    torch.manual_seed(0)
    model, loss, x, y = MODELS[name][0](device)
    return model, loss, x, y, target_gradient(model, loss, x[:500], y[:500])
