"""Every layer's input a, and the gradient δ of every sample's loss with respect to its output, in one pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from dvgs.gradients.layers import Rule, rule_for

Loss = Callable[[Any, torch.Tensor], torch.Tensor]
SQUEEZED = "squeeze() removes the dimension of a single sample: if the model or the loss ends in it, say squeeze(1)"


@dataclass(frozen=True)
class Objective:
    """The gradients that are compared: of a loss (one per sample), for the parameters of a model that `names` names."""

    model: nn.Module
    loss: Loss
    names: dict[nn.Parameter, str]

    def own(self, layer: nn.Module) -> list[nn.Parameter]:
        """The compared parameters of a layer, without those of the modules in it."""
        return [p for p in layer.parameters(recurse=False) if p in self.names]


@dataclass(frozen=True)
class Assignment:
    """Which rule a layer gets, and the compared parameters that have none, whose gradients are formed."""

    rules: dict[nn.Module, Rule]
    formed: list[nn.Parameter]

    def without(self, layers: Iterable[nn.Module], objective: Objective) -> "Assignment":
        """The same, except that the gradients of these layers are formed."""
        rules, formed = dict(self.rules), list(self.formed)
        for layer in layers:
            if rules.pop(layer, None) is not None:
                formed += objective.own(layer)
        return Assignment(rules, formed)


def assign(objective: Objective) -> Assignment:
    """The layers with a rule; without one are the parameters of other modules, and those that two layers share."""
    owners: dict[nn.Parameter, list[nn.Module]] = {p: [] for p in objective.names}
    for module in objective.model.modules():
        for p in objective.own(module):
            owners[p].append(module)
    unruled = {m for modules in owners.values() if len(modules) > 1 or rule_for(modules[0]) is None for m in modules}
    found = {m: rule_for(m) for modules in owners.values() for m in modules if m not in unruled}
    rules = {layer: rule for layer, rule in found.items() if rule is not None}
    return Assignment(rules, [p for p, modules in owners.items() if any(m in unruled for m in modules)])


@dataclass(frozen=True)
class Pass:
    """A forward pass. losses: (n,), with their graph. calls: by layer its input, and the node that made its output.

    misused: layers that were called as no rule allows: twice, or with an input or output that is not a row a sample.
    width: bytes that the layers took in and gave out for one sample.
    """

    losses: torch.Tensor
    calls: dict[nn.Module, tuple[torch.Tensor, GradientEdge]]
    misused: list[nn.Module]
    width: int


def forward(objective: Objective, layers: Iterable[nn.Module], x: torch.Tensor, y: torch.Tensor) -> Pass:
    """Run the model on n samples and watch these layers. Buffers stay as they were.

    Raises ValueError for a loss that is not of shape (n,).
    """
    calls: dict[nn.Module, tuple[torch.Tensor, GradientEdge]] = {}
    misused: list[nn.Module] = []
    width = 1

    def keep(layer, arguments, keywords, output):
        nonlocal width
        a = arguments[0] if arguments else keywords.get("input")
        if not (isinstance(a, torch.Tensor) and isinstance(output, torch.Tensor)):
            misused.append(layer)
            return
        width += (a.numel() * a.element_size() + output.numel() * output.element_size()) // max(len(x), 1)
        if layer in calls or len(a) != len(x) or len(output) != len(x):
            misused.append(layer)
        elif output.requires_grad:
            # The node, not the tensor: an activation in place would turn the tensor into its own output.
            calls[layer] = a.detach(), get_gradient_edge(output)

    handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    try:
        with torch.enable_grad(), same_buffers(objective.model):
            # Copies, because a model or a loss may write to what it is given, and the numbers are the caller's.
            losses = objective.loss(objective.model(x.clone()), y.clone())
    except (ValueError, IndexError, RuntimeError) as error:
        if len(x) == 1 and not isinstance(error, torch.OutOfMemoryError):
            raise ValueError(f"model and loss fail on one sample alone ({error}); {SQUEEZED}") from error
        raise
    finally:
        for handle in handles:
            handle.remove()
    if losses.shape != (len(x),):
        problem = f"loss gives shape {tuple(losses.shape)}; it must give one loss per sample, ({len(x)},)"
        raise ValueError(problem + (f"; {SQUEEZED}" if len(x) == 1 else ""))
    return Pass(losses, calls, misused, width)


def output_gradients(found: Pass, keep_graph: bool = False) -> dict[nn.Module, torch.Tensor]:
    """δ of every layer that the losses depend on: the shape and the dtype of its output."""
    # Only the layers' outputs are asked for, so autograd forms neither weight gradients nor the input's.
    edges = [edge for _, edge in found.calls.values()]
    if not edges:
        return {}
    deltas = torch.autograd.grad(found.losses.sum(), edges, retain_graph=keep_graph, allow_unused=True)
    return {layer: delta for layer, delta in zip(found.calls, deltas, strict=True) if delta is not None}


def apply_rule(
    rule: Rule,
    layer: nn.Module,
    factors: tuple[torch.Tensor, torch.Tensor],
    gradient_of: Mapping[nn.Parameter, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a layer adds to every sample's dot product with the target and to its squared norm, each (n,).

    factors: a and δ. gradient_of: the target's gradients, by parameter that is compared.
    """
    own = {name: gradient_of[p] for name, p in layer.named_parameters(recurse=False) if p in gradient_of}
    with torch.no_grad():
        return rule(layer, *factors, own)


@contextmanager
def same_buffers(model: nn.Module) -> Iterator[None]:
    """Undo whatever a forward pass writes to buffers, such as running statistics."""
    before = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, version, value in before:
            if buffer._version != version:
                buffer.copy_(value)


def random_state(device: torch.device) -> torch.Tensor:
    """The random state of the CPU and of a device, as bytes that can be compared."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)
