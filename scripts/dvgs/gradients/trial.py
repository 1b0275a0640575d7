"""The trial: every rule against autograd on a few samples, so that a rule that does not fit gives no wrong number.

It finds uses of a layer that a rule does not foresee (weights used elsewhere, samples in another order or dimension),
and rules that are wrong.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum

import torch
from torch import nn

from dvgs.gradients.factors import Assignment, Objective, Pass, apply_rule, forward, output_gradients, random_state

TRIAL = 8  # samples on which the rules are tried
REPETITIONS = 40  # of passes, before a difference counts as one that is always there
ROUNDING = 1e-9  # of all gradients squared: a layer's gradient below it, as of a bias before a norm, is only rounding


class Outcome(Enum):
    """What a trial says about the rule of a layer. The last two leave it undecided, and the rule in use."""

    CONFIRMED = "the rule gives what autograd gives"
    REJECTED = "the rule gives something else, or the layer is used as no rule allows"
    NO_GRADIENT = "undecided: the gradient of every sample is zero"
    NOT_REACHED = "undecided: no loss depends on the layer"


@dataclass(frozen=True)
class Trial:
    """What a trial found.

    outcomes: by layer that had a rule. assignment: the rules without those that are rejected. n_samples: those with a
    finite loss on which the rules were tried; when it is zero, only misused layers have an outcome. draws: whether the
    model draws random numbers. width: bytes that the layers with a rule took in and gave out for one sample.
    """

    outcomes: dict[nn.Module, Outcome]
    assignment: Assignment
    n_samples: int = 0
    draws: bool = False
    width: int = 1


def try_rules(objective: Objective, assignment: Assignment, x: torch.Tensor, y: torch.Tensor) -> Trial:
    """Try the rules of an assignment on at most TRIAL samples of x and y that have a finite loss.

    Draws random numbers where the model does. Raises ValueError when the samples influence each other.
    """
    rows = torch.linspace(0, len(x) - 1, min(TRIAL, len(x))).round().long().to(x.device)
    found, assignment, misused = _pass(objective, assignment, x[rows], y[rows])
    finite = found.losses.isfinite()
    if not finite.any():
        found, assignment, others = _pass(objective, assignment, x, y)
        misused |= others
        finite = found.losses.isfinite()
        rows = torch.arange(len(x), device=x.device)
    x, y = x[rows[finite][:TRIAL]], y[rows[finite][:TRIAL]]
    if len(x) == 0:
        return Trial(misused, assignment)
    while True:
        state = random_state(x.device)
        found, assignment, others = _pass(objective, assignment, x, y)
        if not others:
            break
        misused |= others
    draws = not torch.equal(state, random_state(x.device))
    outcomes = _compare(objective, assignment, found)
    rejected = [layer for layer, outcome in outcomes.items() if outcome is Outcome.REJECTED]
    assignment = assignment.without(rejected, objective)
    _refuse_mixed_samples(objective, x, y, draws)
    return Trial(misused | outcomes, assignment, len(x), draws, found.width)


def _pass(objective, assignment, x, y):
    """A forward pass, the assignment without the layers that it misused, and these as outcomes."""
    found = forward(objective, assignment.rules, x, y)
    return found, assignment.without(found.misused, objective), dict.fromkeys(found.misused, Outcome.REJECTED)


def _compare(objective: Objective, assignment: Assignment, found: Pass) -> dict[nn.Module, Outcome]:
    """The outcome by layer: what its rule gives for every sample against the gradient that autograd forms."""
    deltas = output_gradients(found, keep_graph=True)
    gradient_of, reached = _formed_gradients(objective, found.losses.sum())
    layers = {layer: objective.own(layer) for layer in assignment.rules}
    truth = _true_sums(objective, layers, found.losses, gradient_of)
    whole = sum(squared for _, squared in truth.values())  # of every sample, over all layers
    target = {layer: sum(_square(gradient_of[p]) for p in parameters) for layer, parameters in layers.items()}
    whole_target = sum(target.values())

    tolerance = _tolerance(objective)
    outcomes = {}
    for layer, (dot, squared) in truth.items():
        bound = tolerance * torch.maximum(squared, ROUNDING * whole)
        bound_dot = tolerance * torch.maximum(squared * target[layer], ROUNDING * whole * whole_target).sqrt()
        found_dot, found_squared, changed = torch.zeros_like(dot), torch.zeros_like(dot), False
        if layer in deltas:
            factors = found.calls[layer][0], deltas[layer]
            versions = [factor._version for factor in factors]
            sums = apply_rule(assignment.rules[layer], layer, factors, gradient_of)
            found_dot, found_squared = (values.double().cpu() for values in sums)
            changed = versions != [factor._version for factor in factors]  # other layers, and the caller, need them
        if changed or not (_within(found_squared, squared, bound) and _within(found_dot, dot, bound_dot)):
            outcomes[layer] = Outcome.REJECTED
        elif squared.any():
            outcomes[layer] = Outcome.CONFIRMED
        else:
            outcomes[layer] = Outcome.NO_GRADIENT if reached & set(layers[layer]) else Outcome.NOT_REACHED
    return outcomes


def _tolerance(objective: Objective) -> float:
    coarsest = max(torch.finfo(p.dtype).eps for p in objective.names)
    return 1e-8 if coarsest < 1e-15 else max(1e-3, 8 * coarsest)  # TF32 has an error of 1e-3, too


def _within(found, expected, bound):
    # Another shape would be broadcast, and be right for one sample only. NaN is not within any bound.
    return found.shape == expected.shape and bool(((found - expected).abs() <= bound).all())


def _true_sums(objective, layers, losses, gradient_of):
    """By layer the dot products and squared norms, (2, n) in float64, from a backward pass for each sample."""
    sums: dict[nn.Module, list[tuple[float, float]]] = {layer: [] for layer in layers}
    for value in losses:
        own, _ = _formed_gradients(objective, value)
        for layer, parameters in layers.items():
            sums[layer].append(_dot_and_square([own[p] for p in parameters], [gradient_of[p] for p in parameters]))
    return {layer: torch.tensor(pairs, dtype=torch.float64).T for layer, pairs in sums.items()}


def _formed_gradients(objective, value):
    """By compared parameter the gradient of a value, and the parameters on which it depends."""
    gradients = torch.autograd.grad(value, list(objective.names), retain_graph=True, allow_unused=True)
    found = dict(zip(objective.names, gradients, strict=True))
    reached = {p for p, g in found.items() if g is not None}
    return {p: g if p in reached else torch.zeros_like(p) for p, g in found.items()}, reached


def _dot_and_square(gradients, others):
    dot = sum((g.double() * other.double()).sum() for g, other in zip(gradients, others, strict=True))
    return dot.item(), sum(_square(g) for g in gradients)


def _square(gradient):
    return gradient.double().square().sum().item()


def _refuse_mixed_samples(objective, x, y, draws):
    """Raise ValueError if the loss of a sample changes when fewer samples are beside it.

    A model that draws random numbers is looked at in evaluation mode, where most draw none. One that may draw from
    another source than torch has other losses now and then, so only what is the same at every repetition is refused.
    """
    if len(x) == 1:
        return
    tolerance = max(1e-3, _tolerance(objective))
    with _in_evaluation_mode(objective.model) if draws else nullcontext():
        state, first = random_state(x.device), None
        for _ in range(REPETITIONS):
            whole, halves = _losses_of_whole_and_halves(objective, x, y)
            first = whole if first is None else first
            same = ((halves - whole).abs() <= tolerance * (whole.abs() + whole.abs().mean())).all()
            if same or not torch.equal(whole, first) or (draws and not torch.equal(state, random_state(x.device))):
                return
    raise ValueError(
        "the loss of a sample changes with the samples beside it, so it has no gradient of its own; "
        "the samples must lie along dimension 0 and not influence each other, neither in the model nor in the loss "
        "(shapes that broadcast, or a division by the number of samples, do that)"
    )


def _losses_of_whole_and_halves(objective, x, y):
    """The losses of all samples, and of two halves on their own: a model may not take a single sample."""
    half = len(x) // 2
    passes = [forward(objective, (), x[rows], y[rows]) for rows in (slice(None), slice(half), slice(half, None))]
    whole, *halves = (found.losses.detach() for found in passes)
    return whole, torch.cat(halves)


@contextmanager
def _in_evaluation_mode(model):
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
