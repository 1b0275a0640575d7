"""Where no rule fits: the gradients of samples formed, many at once by vmap, or one by one where vmap cannot."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from dvgs.gradients.factors import Objective, same_buffers

CHUNK_NUMBERS = 1 << 26  # numbers of per-sample gradients held at once: 256 MiB

Sums = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def form(
    objective: Objective, x: torch.Tensor, y: torch.Tensor, gradient_of: Mapping[nn.Parameter, torch.Tensor]
) -> Sums:
    """Losses, dot products with the target's gradients and squared norms, each (n,), for the given parameters only."""
    chosen, targets = list(gradient_of), list(gradient_of.values())
    buffers = {name: b.clone() for name, b in objective.model.named_buffers()}

    def sample_loss(values, x, y):
        values = dict(zip(chosen, values, strict=True))
        # Every module's own names, as functional_call would lose the parameters of a module that has two.
        state = {
            f"{prefix}.{name}" if prefix else name: values.get(p, p.detach())
            for prefix, module in objective.model.named_modules()
            for name, p in module.named_parameters(recurse=False)
        }
        prediction = functional_call(objective.model, state | buffers, (x[None],), tie_weights=False)
        return objective.loss(prediction, y[None])[0]

    def sample(x, y):
        gradients, value = grad_and_value(sample_loss)([p.detach() for p in chosen], x, y)
        dot = sum((g * target).sum() for g, target in zip(gradients, targets, strict=True))
        return value, dot, sum(g.square().sum() for g in gradients)

    size = max(1, CHUNK_NUMBERS // sum(target.numel() for target in targets))
    try:
        return vmap(sample, randomness="different", chunk_size=size)(x.clone(), y.clone())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # something in the model that vmap cannot batch
        return form_singly(objective, x, y, gradient_of)


def form_singly(
    objective: Objective, x: torch.Tensor, y: torch.Tensor, gradient_of: Mapping[nn.Parameter, torch.Tensor]
) -> Sums:
    """As `form`, with a forward and a backward pass for each sample."""
    losses, dots, squares = [], [], []
    for sample in range(len(x)):
        with torch.enable_grad(), same_buffers(objective.model):
            value = objective.loss(objective.model(x[sample, None].clone()), y[sample, None].clone())[0]
        gradients = torch.autograd.grad(value, list(gradient_of), allow_unused=True)
        pairs = [(g, t) for g, t in zip(gradients, gradient_of.values(), strict=True) if g is not None]
        zero = torch.zeros_like(value)
        losses.append(value.detach())
        dots.append(sum(((g * t).sum() for g, t in pairs), zero).detach())
        squares.append(sum((g.square().sum() for g, _ in pairs), zero).detach())
    return torch.stack(losses), torch.stack(dots), torch.stack(squares)
