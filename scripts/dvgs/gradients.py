"""Similarity of every sample's gradient to a given gradient, without forming per-sample gradients.

For a layer y = W a + b, sample i has the gradient δ_i a_iᵀ for W and δ_i for b, where δ_i is the gradient of its
loss with respect to y. With a target gradient (G, g),

    <g_i, g_target> = Σ_layers δ_iᵀ (G a_i + g)        ‖g_i‖² = Σ_layers ‖δ_i‖² (‖a_i‖² + 1)

so one forward pass, one backward pass to the layers' outputs and one more product a layer give the exact
cosine, dot product, projection and distance: about the cost of a training step.
"""

import torch
from torch import nn


def similarity(model, loss, x, y, target_gradient):
    """How the gradient of each sample's loss compares with a target gradient.

    model: a module whose trainable parameters all belong to Linear layers with (n, features) input.
    loss(prediction, y): one loss per sample, shape (n,). target_gradient: what
    torch.autograd.grad(target_loss, list(model.parameters())) returns.

    Returns a dict of tensors of shape (n,): `cosine`; `dot`; `projection` of the sample's gradient on the
    target's (dot / ‖target‖); `l2`, the negative Euclidean distance, so that more is better throughout;
    `gradient_norm`; `loss`. Where a norm is zero, cosine and projection are zero. NaN in a sample stays
    in that sample. Raises ValueError for a loss that is not per sample and NotImplementedError for
    parameters outside Linear layers.
    """
    gradient_of = _by_parameter(model, target_gradient)
    layers = _linear_layers(model)
    inputs, outputs = {}, {}

    def keep(layer, arguments, output):
        if layer in outputs:
            raise NotImplementedError(f"{layer} is called twice in a forward pass")
        if arguments[0].ndim != 2:
            raise NotImplementedError(f"{layer} gets input of shape {tuple(arguments[0].shape)}")
        inputs[layer], outputs[layer] = arguments[0].detach(), output

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        losses = loss(model(x), y)
    finally:
        for handle in handles:
            handle.remove()
    if losses.shape != (len(x),):
        raise ValueError(f"loss gives shape {tuple(losses.shape)}; it must give one loss per sample, ({len(x)},)")
    # Only the layers' outputs are asked for, so autograd forms neither weight gradients nor the input's.
    deltas = torch.autograd.grad(losses.sum(), [outputs[layer] for layer in layers])

    dot, squared_norm = torch.zeros_like(losses), torch.zeros_like(losses)
    with torch.no_grad():
        for layer, delta in zip(layers, deltas, strict=True):
            layer_dot, layer_squared = _linear(layer, inputs[layer], delta, gradient_of)
            dot += layer_dot
            squared_norm += layer_squared
    target_squared = sum(g.square().sum() for g in gradient_of.values())
    return _similarities(dot.detach(), squared_norm.detach(), target_squared) | {"loss": losses.detach()}


def _by_parameter(model, target_gradient):
    parameters = list(model.parameters())
    if len(target_gradient) != len(parameters):
        raise ValueError(f"{len(target_gradient)} target gradients for {len(parameters)} parameters")
    return {
        parameter: gradient.detach()
        for parameter, gradient in zip(parameters, target_gradient, strict=True)
        if parameter.requires_grad
    }


def _linear_layers(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and any(p.requires_grad for p in m.parameters())]
    covered = {p for layer in layers for p in layer.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter not in covered:
            raise NotImplementedError(f"parameter {name} is not in a Linear layer")
    if not layers:
        raise ValueError("the model has no trainable parameters")
    return layers


def _linear(layer, a, delta, gradient_of):
    dot, delta_squared = 0, delta.square().sum(1)
    squared = 0
    if layer.weight.requires_grad:
        gradient = gradient_of[layer.weight]
        # Both orders cost the same product; the elementwise rest runs over the narrower side.
        if layer.out_features <= layer.in_features:
            dot = dot + ((a @ gradient.T) * delta).sum(1)
        else:
            dot = dot + ((delta @ gradient) * a).sum(1)
        squared = squared + delta_squared * a.square().sum(1)
    if layer.bias is not None and layer.bias.requires_grad:
        dot = dot + delta @ gradient_of[layer.bias]
        squared = squared + delta_squared
    return dot, squared


def _similarities(dot, squared_norm, target_squared):
    norm, target_norm = squared_norm.sqrt(), target_squared.sqrt()

    def ratio(top, bottom):
        return torch.where(bottom == 0, torch.zeros_like(top), top / bottom)

    return {
        "cosine": ratio(dot, norm * target_norm),
        "dot": dot,
        "projection": ratio(dot, target_norm),
        "l2": -(squared_norm + target_squared - 2 * dot).clamp(min=0).sqrt(),
        "gradient_norm": norm,
    }
