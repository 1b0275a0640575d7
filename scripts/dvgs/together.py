"""Several models of one shape trained at once, as a step of a small model costs its calls more than its products."""

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import nn

from dvgs.devices import fork_random, seed_device
from dvgs.mish import Mish
from dvgs.models import Autoencoder
from dvgs.seeds import derive_seed
from dvgs.training import _batches, fit, make_optimizer

MOST_PRODUCTS = 100_000_000  # multiplications of a forward pass up to which stacking was faster on two cores
ELEMENTWISE = {nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Tanh}
ELEMENTWISE |= {nn.Mish, Mish}


def fit_together(models, loss, x, y, rows, *, steps, batch_size, learning_rate, seeds):
    """Train each model on its own rows of x and y as `fit` would, the same up to rounding.

    models: modules on x's device that differ in nothing but their parameters; they are trained in place. x, y: tensors
    shared by all, as for `fit`. loss(prediction, y): one loss per sample. rows: per model the samples it is
    trained on, integers, a tensor on the CPU or an array. seeds: per model an int, which shuffles its epochs.
    Models of more than Linear layers, activations, dropout and norms of a sample are trained one by one, by `fit`.
    Returns models. Raises ValueError if models, rows and seeds are not equally many, RuntimeError if shapes differ.
    """
    alike = defaultdict(list)  # fewer rows than batch_size are batches of another length
    for model, own, seed in zip(models, rows, seeds, strict=True):
        alike[min(len(own), batch_size)].append((model, torch.as_tensor(own), seed))
    for group in alike.values():
        together = len(group) > 1 and x.ndim == 2 and all(_is_plain(model) for model, *_ in group)
        train = _fit_stacked if together else _fit_alone
        train(group, loss, x, y, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    return models


def _fit_alone(group, loss, x, y, **training):
    for model, rows, seed in group:
        fit(model, loss, x, y, **training, seed=seed, rows=rows)


def _fit_stacked(group, loss, x, y, *, steps, batch_size, learning_rate):
    models, rows, seeds = zip(*group, strict=True)
    stacked = nn.Sequential(*map(_stack, zip(*map(_layers, models), strict=True)))
    optimizer = make_optimizer(stacked, learning_rate)
    orders = [_batches(len(own), batch_size, seed) for own, seed in zip(rows, seeds, strict=True)]
    with fork_random(x.device):
        for step in range(steps):
            if step == 0 or batch_size < len(rows[0]):  # else a batch is everything, always in the same order
                drawn = torch.stack([own[next(order)] for own, order in zip(rows, orders, strict=True)]).to(x.device)
                batch = x[drawn]
                target = (batch if y is x else y[drawn]).flatten(0, 1)
            optimizer.zero_grad()
            _draw_masks(stacked, seeds, step, batch)
            # The sum of the models' mean losses gives each its own gradient.
            (loss(stacked(batch).flatten(0, 1), target).sum() / drawn.shape[1]).backward()
            optimizer.step()
    for trained, layers in zip(stacked, zip(*map(_layers, models), strict=True), strict=True):
        if isinstance(trained, _Linears):
            trained.copy_to(layers)


def _layers(model):
    """The layers of a model in order, where it is known what it does with them; else the model itself."""
    if type(model) is Autoencoder:
        return _layers(model.encoder) + _layers(model.decoder)
    if type(model) is nn.Sequential:
        return [layer for part in model for layer in _layers(part)]
    return [model]


def _is_plain(model):
    """Whether a model is layers that can be stacked, each with parameters of its own that are all trained."""
    layers = _layers(model)
    parameters = [p for layer in layers for p in layer.parameters()]
    return (
        all(type(layer) in ELEMENTWISE or _is_plain_linear(layer) or _is_of_samples(layer) for layer in layers)
        and all(p.requires_grad for p in parameters)
        and len(set(parameters)) == len(parameters)
    )


def _is_plain_linear(layer):
    # Pruning and the norms of weights leave the type and put other tensors in the place of the weight.
    return type(layer) is nn.Linear and layer.state_dict().keys() <= {"weight", "bias"}


def _is_of_samples(layer):
    """A norm of single samples without parameters, or dropout."""
    if type(layer) is nn.LayerNorm:
        return not layer.elementwise_affine and len(layer.normalized_shape) == 1
    return type(layer) is nn.Dropout and not layer.inplace


def _stack(layers):
    first = layers[0]
    if type(first) is nn.Dropout and first.training and first.p > 0:
        return _Dropouts(first.p)
    return _Linears(layers) if type(first) is nn.Linear else first


def _draw_masks(stacked, seeds, step, batch):
    """Give every dropout the masks that `fit` would draw in this step, by the seed of each model."""
    dropouts = [layer for layer in stacked if isinstance(layer, _Dropouts)]
    if not dropouts:
        return
    different = list(dict.fromkeys(seeds))  # models of one seed share their masks, which are drawn once
    drawn = []
    for seed in different:
        seed_device(batch.device, derive_seed(seed, "step", step))
        width, masks = batch.shape[2], []
        for layer in stacked:
            if isinstance(layer, _Linears):
                width = layer.weight.shape[2]
            elif isinstance(layer, _Dropouts):
                masks.append(F.dropout(batch.new_ones(batch.shape[1], width), layer.p))
        drawn.append(masks)
    which = [different.index(seed) for seed in seeds]
    for layer, masks in zip(dropouts, zip(*drawn, strict=True), strict=True):
        layer.masks = torch.stack(masks)[which] if len(different) > 1 else masks[0]


class _Dropouts(nn.Module):
    """The dropout of k models; `masks`, (k, batch, width) or (batch, width) for all alike, are drawn before a step."""

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.masks = None

    def forward(self, x):
        return x * self.masks


class _Linears(nn.Module):
    """One Linear of each of k models: (k, batch, in) to (k, batch, out).

    Weights are (k, in, out), as the products want them; transposed, every gradient would be copied once more.
    """

    def __init__(self, layers):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        biased = layers[0].bias is not None
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers])) if biased else None

    def forward(self, x):
        return x @ self.weight if self.bias is None else torch.baddbmm(self.bias, x, self.weight)

    @torch.no_grad()
    def copy_to(self, layers):
        for k, layer in enumerate(layers):
            layer.weight.copy_(self.weight[k].T)
            if self.bias is not None:
                layer.bias.copy_(self.bias[k, 0])


def group_size(model, batch_size, device):
    """How many models of this shape to train together, at most 32.

    Where a step is long its products fill the machine, and stacked ones only leave the cache (`make bench` shows both).
    Eight models take most of what there is to gain, unless a step is next to nothing. As a batch counts for 32 samples
    at least, the stack of parameters and all that Adam keeps of it stays below 2 GiB.
    """
    products = max(batch_size, 32) * sum(p.numel() for p in model.parameters())
    if products > MOST_PRODUCTS:
        return 1
    return 32 if device.type == "cuda" else min(max(MOST_PRODUCTS // products, 8), 32)
