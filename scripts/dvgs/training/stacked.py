"""Several models of one shape are trained at once: in a step of a small model, calls cost more than the products."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from dvgs.devices import fork_random, seed_device
from dvgs.limits import MOST_PRODUCTS
from dvgs.seeds import derive_seed
from dvgs.training.cuda_graphs import CapturedStep
from dvgs.training.fit import PREDICTION_CHUNK, Loss, Samples, batches, fit, make_optimizer, predict
from dvgs.training.mish import Mish
from dvgs.training.models import Autoencoder
from dvgs.training.schedule import Schedule

ELEMENTWISE = {nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Tanh}
ELEMENTWISE |= {nn.Mish, Mish}


def fit_together(
    models: list[nn.Module], loss: Loss, samples: Samples, rows: list, schedule: Schedule, seeds: list[int]
) -> list[nn.Module]:
    """Train each model on its own rows of the samples; the result is that of `fit`, up to rounding.

    models: modules on the samples' device that differ only in their parameters; they are trained in place. samples: x
    and y, tensors, the same for all models, as for `fit`. loss(prediction, y): one loss per sample. rows: for each
    model the positions of its samples, integers, a tensor on the CPU or an array; all models have equally many, or all
    have at least a batch. schedule: in steps if models have different numbers of rows. seeds: for each model an int,
    the seed of the order of its samples.
    Only Linear, activations, dropout and norms of single samples can be stacked; models with other layers are trained
    one by one, by `fit`.
    Returns models. Raises ValueError if the numbers of models, rows and seeds differ, or the lengths of their batches;
    RuntimeError if shapes differ.
    """
    rows = _equally_long(models, rows, seeds, schedule.batch_size)
    train = _fit_stacked if _can_stack(models, samples[0]) else _fit_alone
    train(models, loss, samples, rows, schedule, seeds)
    return models


def predict_together(
    model: nn.Module,
    inputs: torch.Tensor,
    loss: Loss,
    samples: Samples,
    rows: list,
    schedule: Schedule,
    seeds: list[int],
) -> list[torch.Tensor]:
    """Train copies of one model, each on its own rows as fit_together does, and predict inputs (m, ...) with each.

    model: it does not change. Other arguments as for fit_together. Returns a list with a tensor (m, ...) for each of
    rows.
    """
    models = [model] * len(rows)
    rows = _equally_long(models, rows, seeds, schedule.batch_size)
    if _can_stack(models, samples[0]):
        return list(_predict_stacked(_train(models, loss, samples, rows, schedule, seeds), inputs, len(models)))
    copies = [copy.deepcopy(model) for _ in rows]
    _fit_alone(copies, loss, samples, rows, schedule, seeds)
    return [predict(trained, inputs) for trained in copies]


def _equally_long(models, rows, seeds, batch_size):
    """The rows as tensors. They are checked first: fewer rows than batch_size would make shorter batches."""
    if not len(models) == len(rows) == len(seeds):
        raise ValueError(f"{len(models)} models for {len(rows)} sets of rows and {len(seeds)} seeds")
    lengths = {min(len(own), batch_size) for own in rows}
    if len(lengths) > 1:
        raise ValueError(f"batches of {min(lengths)} and {max(lengths)} rows; train models of equal batches together")
    return [torch.as_tensor(own) for own in rows]


def _can_stack(models, x):
    return len(models) > 1 and x.ndim == 2 and all(_is_plain(model) for model in models)


def _fit_alone(models, loss, samples, rows, schedule, seeds):
    for model, own, seed in zip(models, rows, seeds, strict=True):
        fit(model, loss, samples, schedule, seed, own)


def _fit_stacked(models, loss, samples, rows, schedule, seeds):
    stacked = _train(models, loss, samples, rows, schedule, seeds)
    for trained, layers in zip(stacked, zip(*map(_layers, models), strict=True), strict=True):
        if isinstance(trained, _Linears):
            trained.copy_to(layers)


def _train(models, loss, samples, rows, schedule, seeds):
    """The trained stack of the models; the models themselves do not change."""
    stacked = nn.Sequential(*map(_stack, zip(*map(_layers, models), strict=True)))
    optimizer = make_optimizer(stacked, schedule.learning_rate)
    draws = _Draws(samples, rows, schedule.batch_size, seeds)

    def update():
        optimizer.zero_grad()
        # The sum of the models' mean losses gives each its own gradient.
        (
            loss(stacked(draws.x.clone()).flatten(0, 1), draws.y.flatten(0, 1).clone()).sum() / draws.x.shape[1]
        ).backward()
        if draws.x.is_cuda:
            optimizer.param_groups[0]["capturable"] = torch.cuda.is_current_stream_capturing()
        optimizer.step()

    take_step = CapturedStep(update) if draws.x.is_cuda else update
    with fork_random(draws.x.device):
        for step in range(schedule.n_steps(len(rows[0]))):
            if step:
                draws.next()
            _draw_masks(stacked, seeds, step, draws.x)
            take_step()
    return stacked


class _Draws:
    """The batches of several models: `x` and `y`, (models, batch, ...), always at the same places in memory."""

    def __init__(self, samples, rows, batch_size, seeds):
        self._samples = x, _ = samples
        keys = [(len(own), seed) for own, seed in zip(rows, seeds, strict=True)]
        different, which = _distinct(keys)  # models with the same key have the same order, which is drawn once
        self._orders = [batches(n, batch_size, seed) for n, seed in different]
        self._which = torch.tensor(which, device=x.device)
        self._rows = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(x.device)
        self._whole = all(batch_size >= len(own) for own in rows)  # then every batch is all rows, in the same order
        self.x, labels = self._draw()
        self.y = self.x if labels is None else labels

    def next(self):
        """Put the next batches at the place of the last ones, where captured launches read them."""
        if not self._whole:
            x, y = self._draw()
            self.x.copy_(x)
            if y is not None:
                self.y.copy_(y)

    def _draw(self):
        x, y = self._samples
        positions = torch.stack([next(order) for order in self._orders]).to(x.device)
        drawn = self._rows.gather(1, positions[self._which])
        return x[drawn], None if y is x else y[drawn]


def _distinct(keys):
    """The distinct keys, and for every key its position among them."""
    places: dict = {}
    which = [places.setdefault(key, len(places)) for key in keys]
    return list(places), which


@torch.no_grad()
def _predict_stacked(stacked, inputs, n_models):
    for layer in stacked:
        if isinstance(layer, _Dropouts):
            layer.masks = None
    chunks = inputs.split(max(1, PREDICTION_CHUNK // n_models))
    return torch.cat([stacked(chunk.repeat(n_models, 1, 1)) for chunk in chunks], dim=1)


def _layers(model):
    """The layers of a model in order, if the model applies one after the other; else the model itself."""
    if type(model) is Autoencoder:
        return _layers(model.encoder) + _layers(model.decoder)
    if type(model) is nn.Sequential:
        return [layer for module in model for layer in _layers(module)]
    return [model]


def _is_plain(model):
    """Whether all layers of a model can be stacked, share no parameters and have no frozen ones."""
    layers = _layers(model)
    parameters = [p for layer in layers for p in layer.parameters()]
    return (
        all(type(layer) in ELEMENTWISE or _is_plain_linear(layer) or _is_of_samples(layer) for layer in layers)
        and all(p.requires_grad for p in parameters)
        and len(set(parameters)) == len(parameters)
    )


def _is_plain_linear(layer):
    # Pruning and norms of weights do not change the type, but replace the weight by other tensors.
    return type(layer) is nn.Linear and layer.state_dict().keys() <= {"weight", "bias"}


def _is_of_samples(layer):
    """Whether it is dropout, or a norm of single samples without parameters."""
    if type(layer) is nn.LayerNorm:
        return not layer.elementwise_affine and len(layer.normalized_shape) == 1
    return type(layer) is nn.Dropout and not layer.inplace


def _stack(layers):
    first = layers[0]
    if type(first) is nn.Dropout and first.training and first.p > 0:
        return _Dropouts(first.p)
    return _Linears(layers) if type(first) is nn.Linear else first


def _draw_masks(stacked, seeds, step, batch):
    """Give every dropout the masks that `fit` would draw in this step with the seed of each model."""
    dropouts = [layer for layer in stacked if isinstance(layer, _Dropouts)]
    if not dropouts:
        return
    different, which = _distinct(seeds)  # models with the same seed have the same masks, which are drawn once
    drawn = []  # for each seed, one mask for each dropout
    for seed in different:
        seed_device(batch.device, derive_seed(seed, "step", step))
        width, own = batch.shape[2], []
        for layer in stacked:
            if isinstance(layer, _Linears):
                width = layer.weight.shape[2]
            elif isinstance(layer, _Dropouts):
                own.append(F.dropout(batch.new_ones(batch.shape[1], width), layer.p))
        drawn.append(own)
    for layer, by_seed in zip(dropouts, zip(*drawn, strict=True), strict=True):
        masks = torch.stack(by_seed)[which] if len(different) > 1 else by_seed[0]
        if masks.is_cuda and layer.masks is not None:
            layer.masks.copy_(masks)  # captured launches read them at the same place
        else:
            layer.masks = masks


class _Dropouts(nn.Module):
    """The dropout of k models. `masks`, (k, batch, width), or (batch, width) for all models, are drawn before a step.

    Without masks nothing is dropped.
    """

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.masks = None

    def forward(self, x):
        return x if self.masks is None else x * self.masks


class _Linears(nn.Module):
    """One Linear of each of k models: (k, batch, in) to (k, batch, out).

    Weights are (k, in, out), as the products need them; with (k, out, in) every gradient would be copied once more.
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


def group_size(model: nn.Module, batch_size: int, device: torch.device) -> int:
    """How many models of this shape to train together: at most 32, or 256 on a GPU; 1 if they cannot be stacked.

    If a step is long, the products of one model already fill the machine, and those of a stack no longer fit the cache
    (`make bench` shows both). On CPUs eight models give most of the gain, unless a step is very short. A GPU needs
    hardly more time for a step of hundreds of small models than for one. A batch counts as at least 32 samples, on a
    GPU 128, so that the stack of parameters and everything that Adam keeps for it stay below 2.5 GiB.
    """
    if not _is_plain(model):
        return 1
    smallest_batch, least, largest = (32, 8, 32) if device.type == "cpu" else (128, 1, 256)
    products = max(batch_size, smallest_batch) * sum(p.numel() for p in model.parameters())
    most = MOST_PRODUCTS[device.type]
    return 1 if products > most else min(max(most // products, least), largest)
