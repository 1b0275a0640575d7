"""Rules: what a layer adds to every sample's dot product with the target gradient and to its squared gradient norm.

A rule gets the layer, its input a (n, ...), the gradient δ (n, ...) of every sample's loss with respect to the
layer's output, and the target gradients of those of its parameters that count, by name ("weight", "bias").
It returns (dot, squared), each (n,). `register_rule` adds rules for other layers.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import nn

# Numbers held at once where positions are unfolded: 16 MiB, about a cache; on a GPU what keeps it busy.
CHUNK_NUMBERS = {"cpu": 1 << 22, "cuda": 1 << 26}

Gradients = Mapping[str, torch.Tensor]
Sums = tuple[torch.Tensor, torch.Tensor]
Rule = Callable[[Any, torch.Tensor, torch.Tensor, Gradients], Sums]
_Rule = TypeVar("_Rule", bound=Rule)
_Norm = nn.modules.batchnorm._NormBase


@dataclass(frozen=True)
class _Entry:
    rule: Rule
    parameters: frozenset[str] = frozenset({"weight", "bias"})


@overload
def register_rule(layer_type: type[nn.Module], rule: _Rule, *, parameters: Collection[str] = ...) -> _Rule: ...


@overload
def register_rule(
    layer_type: type[nn.Module], rule: None = None, *, parameters: Collection[str] = ...
) -> Callable[[_Rule], _Rule]: ...


def register_rule(layer_type, rule=None, *, parameters=("weight", "bias")):
    """Give layers of a type a rule, so that their gradients need not be formed sample by sample.

    rule(layer, a, delta, gradient) returns (dot, squared), each (n,): for every sample the dot product of its gradient
    with the target's, and the square of its gradient's norm. a: the layer's first argument, (n, ...). delta: the
    gradient of every sample's loss with respect to the layer's output, one tensor, (n, ...). gradient: the target's
    gradients by name, only of those of the layer's own parameters that are compared. The rule must leave all of them
    unchanged; under autocast their dtypes can differ. parameters: the names of all parameters that the rule handles; a
    layer with others falls back.

    Without a rule it is a decorator; with one it returns the rule. A layer of y = gain * x + offset:

    >>> import torch
    >>> from dvgs.gradients import register_rule
    >>> class Scale(torch.nn.Module):
    ...     def __init__(self, width):
    ...         super().__init__()
    ...         self.gain = torch.nn.Parameter(torch.ones(width))
    ...         self.offset = torch.nn.Parameter(torch.zeros(width))
    ...     def forward(self, x):
    ...         return self.gain * x + self.offset
    >>> @register_rule(Scale, parameters=("gain", "offset"))
    ... def scale(layer, a, delta, gradient):
    ...     own = {"gain": delta * a, "offset": delta}  # every sample's gradient, (n, width)
    ...     dot = sum(own[name] @ target for name, target in gradient.items())
    ...     return dot, sum(own[name].square().sum(1) for name in gradient)

    The type is meant exactly: subclasses have no rule, because they may do anything. A later registration replaces an
    earlier one, also that of a layer of torch, in each engine that is made afterwards. Rules are tried against autograd
    on the first samples; one that gives something else there is not used, and a line in the log says so.

    Raises TypeError for what is no type of layers, a rule that cannot be called, and a single name as parameters.
    """
    if not (isinstance(layer_type, type) and issubclass(layer_type, nn.Module)):
        raise TypeError(f"{layer_type!r} is not a type of layers: a subclass of torch.nn.Module")
    if isinstance(parameters, str):
        raise TypeError(f"parameters is the string {parameters!r}; it must be a collection of names")
    if rule is None:
        return lambda rule: register_rule(layer_type, rule, parameters=parameters)
    if not callable(rule):
        raise TypeError(f"the rule {rule!r} cannot be called")
    RULES[layer_type] = _Entry(rule, frozenset(parameters))
    return rule


def rule_for(layer: nn.Module) -> Rule | None:
    """The rule of a layer, or None.

    Subclasses have none, because they may do anything. Neither have layers with parameters that their rule does not
    handle, such as a weight that is made of other parameters (pruning).
    """
    entry = RULES.get(type(layer))
    if entry is None or not {name for name, _ in layer.named_parameters(recurse=False)} <= entry.parameters:
        return None
    if type(layer) is nn.Embedding and (layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse):
        return None
    return entry.rule


def linear(layer: nn.Linear, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """y = W a + b: g_i = δ_i a_iᵀ, so <g_i, G> = δ_iᵀ G a_i and ‖g_i‖² = ‖δ_i‖² ‖a_i‖²."""
    if a.ndim > 2:
        return _linear_on_sequence(a.flatten(1, -2), delta.flatten(1, -2), gradient)
    squared_delta = _squared(delta)
    if "weight" not in gradient:
        return delta @ gradient["bias"].to(delta.dtype), squared_delta
    target = gradient["weight"].to(delta.dtype)
    # Both orders cost the same product; the elementwise rest runs over the narrower side.
    if layer.out_features <= layer.in_features:
        products = (a.to(delta.dtype) @ target.T).mul_(delta)
    else:
        products = (delta @ target).mul_(a)
    dot, squared = products.sum(1, dtype=_wide(delta)), squared_delta * _squared(a)
    if "bias" in gradient:
        dot, squared = dot + delta @ gradient["bias"].to(delta.dtype), squared + squared_delta
    return dot, squared


def _linear_on_sequence(a, delta, gradient):
    def positions(rows):
        return a[rows, None].to(delta.dtype), delta[rows, None]

    target = gradient["weight"][None] if "weight" in gradient else None
    return _sum(_weight(positions, len(a), target), _bias(delta.mT, gradient))


def convolution(layer: nn.Conv1d | nn.Conv2d, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """A linear map of patches, the sum over positions: taken apart, it is a Linear on a sequence."""
    a, delta, kernel, stride, padding, dilation = _in_2d(layer, a, delta)
    padded = F.pad(a.to(delta.dtype), padding, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)

    def positions(rows):
        patches = _patches(padded[rows], delta.shape[2:], kernel, stride, dilation, layer.groups)
        return patches, _by_position(delta[rows], layer.groups)

    return _sum(_weight(positions, len(a), _by_group(layer, gradient)), _bias(delta, gradient))


def transposed_convolution(
    layer: nn.ConvTranspose1d | nn.ConvTranspose2d, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients
) -> Sums:
    """The mirror image: a patch of δ meets the input at one position."""
    a, delta, kernel, stride, padding, dilation = _in_2d(layer, a, delta)
    padded = F.pad(delta, padding)

    def positions(rows):
        patches = _patches(padded[rows], a.shape[2:], kernel, stride, dilation, layer.groups)
        return patches, _by_position(a[rows].to(delta.dtype), layer.groups)

    return _sum(_weight(positions, len(a), _by_group(layer, gradient)), _bias(delta, gradient))


def _patches(images, shape, kernel, stride, dilation, groups):
    """What a kernel sees at each of shape[0] x shape[1] positions: (n, groups, positions, height x width x channels).

    Channels last: a row of the kernel is then contiguous, and the copy several times faster than torch's unfold.
    """
    images = images.permute(0, 2, 3, 1).contiguous()
    n, _, _, channels = images.shape
    of_n, of_row, of_column, _ = images.stride()
    size = (n, groups, *shape, *kernel, channels // groups)
    steps = (of_row * stride[0], of_column * stride[1], of_row * dilation[0], of_column * dilation[1])
    return images.as_strided(size, (of_n, channels // groups, *steps, 1)).flatten(4).flatten(2, 3)


def _by_position(images, groups):
    """(n, groups, positions, channels)"""
    return images.flatten(2).unflatten(1, (groups, -1)).mT


def _by_group(layer, gradient):
    """The target of a kernel, with the channels in the order of `_patches`: (groups, out, height x width x in)."""
    if "weight" not in gradient:
        return None
    target = gradient["weight"].reshape(*layer.weight.shape[:2], -1)
    return target.mT.unflatten(0, (layer.groups, -1)).flatten(2)


def embedding(layer: nn.Embedding, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """Row k of g_i is the sum of δ_i over the positions that hold k."""
    a, delta = a.reshape(len(a), -1), delta.reshape(len(a), -1, delta.shape[-1])
    if layer.padding_idx is not None:
        delta = delta * (a != layer.padding_idx)[..., None]
    dot = (gradient["weight"].to(delta.dtype)[a] * delta).sum((1, 2), dtype=_wide(delta))
    same = a[:, :, None] == a[:, None, :]
    return dot, ((delta @ delta.mT) * same).sum((1, 2), dtype=_wide(delta))


def layer_norm(layer: nn.LayerNorm, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """y = w x̂ + b, so g_i is the sum of δ_i x̂_i and of δ_i over positions, and small enough to form."""
    normed, shape = F.layer_norm(a, layer.normalized_shape, eps=layer.eps), (len(a), -1, *layer.normalized_shape)
    return _affine((delta * normed).reshape(shape).sum(1), delta.reshape(shape).sum(1), gradient)


def group_norm(layer: nn.GroupNorm, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """Each sample normed by its own groups of channels, so that samples stay apart."""
    return _affine_of_channels(F.group_norm(a, layer.num_groups, eps=layer.eps), delta, gradient)


def instance_norm(layer: _Norm, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """Each channel of a sample normed by itself; with running statistics in evaluation, a batch norm."""
    if layer.training or not layer.track_running_stats:
        return _affine_of_channels(F.instance_norm(a, eps=layer.eps), delta, gradient)
    return batch_norm(layer, a, delta, gradient)


def batch_norm(layer: _Norm, a: torch.Tensor, delta: torch.Tensor, gradient: Gradients) -> Sums:
    """With running statistics, as in evaluation; a batch's own statistics are refused before it comes to this."""
    return _affine_of_channels(F.batch_norm(a, layer.running_mean, layer.running_var, eps=layer.eps), delta, gradient)


RULES: dict[type[nn.Module], _Entry] = {
    nn.Linear: _Entry(linear),
    nn.Conv1d: _Entry(convolution),
    nn.Conv2d: _Entry(convolution),
    nn.ConvTranspose1d: _Entry(transposed_convolution),
    nn.ConvTranspose2d: _Entry(transposed_convolution),
    nn.Embedding: _Entry(embedding, frozenset({"weight"})),
    nn.LayerNorm: _Entry(layer_norm),
    nn.GroupNorm: _Entry(group_norm),
    nn.InstanceNorm1d: _Entry(instance_norm),
    nn.InstanceNorm2d: _Entry(instance_norm),
    nn.InstanceNorm3d: _Entry(instance_norm),
    nn.BatchNorm1d: _Entry(batch_norm),
    nn.BatchNorm2d: _Entry(batch_norm),
    nn.BatchNorm3d: _Entry(batch_norm),
}


def _weight(positions, n, target):
    """For g_i = Σ_s outer_is inner_isᵀ, where positions(rows) gives inner (rows, groups, s, i) and outer (.., s, o).

    target: (groups, o, i), or None where the weights do not count. The norm comes from g_i itself or from
    Σ_st <inner_s, inner_t> <outer_s, outer_t>, whichever is smaller to hold and to compute.
    """
    if target is None:
        return 0, 0
    groups, o, i = target.shape
    first, _ = positions(slice(0, 1))
    s, most = first.shape[2], CHUNK_NUMBERS.get(first.device.type, CHUNK_NUMBERS["cpu"])
    by_gram = s * (i + o) <= i * o
    rows = max(1, most // (groups * (s * (i + o) + (s * s if by_gram else i * o))))
    found = []
    for start in range(0, n, rows):
        inner, outer = positions(slice(start, start + rows))
        if by_gram:
            dots = (inner @ target.mT.to(inner.dtype)) * outer
            squares = (inner @ inner.mT) * (outer @ outer.mT)
        else:
            g = outer.mT @ inner
            dots, squares = g * target.to(g.dtype), g.square()
        found.append([terms.sum((1, 2, 3), dtype=_wide(terms)) for terms in (dots, squares)])
    return tuple(torch.cat(chunks) for chunks in zip(*found, strict=True))


def _bias(delta, gradient):
    """delta: (n, channels, ...)."""
    return _formed(_over_positions(delta), gradient["bias"]) if "bias" in gradient else (0, 0)


def _affine(weight, bias, gradient):
    gradients = {"weight": weight, "bias": bias}
    return _sum(*(_formed(gradients[name], target) for name, target in gradient.items()))


def _affine_of_channels(normed, delta, gradient):
    return _affine(_over_positions(delta * normed), _over_positions(delta), gradient)


def _over_positions(delta):
    return delta.reshape(*delta.shape[:2], -1).sum(2, dtype=_wide(delta))


def _formed(gradients, target):
    """The two sums for gradients that are at hand, (n, ...)."""
    gradients = gradients.flatten(1).to(_wide(gradients))
    return gradients @ target.flatten().to(gradients.dtype), _squared(gradients)


def _sum(*pairs):
    return tuple(sum(terms) for terms in zip(*pairs, strict=True))


def _squared(rows):
    return torch.linalg.vector_norm(rows, dim=1, dtype=_wide(rows)).square_()


def _wide(tensor):
    """Sums of half precision numbers are taken in single precision."""
    return torch.float32 if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.dtype


def _in_2d(layer, a, delta):
    """Input, δ and geometry of a one- or two-dimensional convolution as those of a two-dimensional one."""
    kernel, stride, dilation, padding = layer.kernel_size, layer.stride, layer.dilation, layer.padding
    if padding == "valid":
        padding = (0,) * len(kernel)
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = [(p // 2, p - p // 2) for p in whole]
    else:
        padding = [(p, p) for p in padding]
    if len(kernel) == 1:
        a, delta, padding = a[:, :, None], delta[:, :, None], [(0, 0), *padding]
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    return a, delta, kernel, stride, [*padding[1], *padding[0]], dilation
