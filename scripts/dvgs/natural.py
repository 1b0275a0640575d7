"""The target's natural gradient: where its gradient points once directions in which samples differ anyway count less.

    F⁻¹ ∇L,   F ≈ A ⊗ G for each layer        (Amari 1998, doi:10.1162/089976698300017746; K-FAC,
                                              Martens and Grosse 2015, arXiv 1503.05671)

For a layer y = W a + b let ã = (a, 1), and δ_i be the gradient of sample i's loss with respect to y. Over the target,

    ∇L = M = mean δ_i ã_iᵀ      A = mean ã_i ã_iᵀ      G = mean δ_i δ_iᵀ      F⁻¹ ∇L = (G + λ_G I)⁻¹ M (A + λ_A I)⁻¹

Compared with this direction in place of M, a sample's gradient says more about the sample and less about what all
samples have in common. The samples' own gradients stay as they are, so scoring costs what it did. λ is the mean
eigenvalue times √(width / n): as far as the eigenvalues from n samples lie apart for no reason but that they are n
(Marchenko and Pastur 1967), so that wide layers of small targets are damped most.
"""

import math

import torch
from torch import nn

from dvgs.errors import InputError


def natural_gradient(engine, x, y, size):
    """The natural gradient of a target's mean loss, a tensor for each parameter that engine compares, by parameter.

    engine: a GradientSimilarity; what it compares must belong to Linear layers of vectors. x, y: the whole target, on
    the model's device. size: samples that pass through the model at once. Raises InputError for other layers, and when
    a loss is not finite.
    """
    sums = {}
    for rows in torch.arange(len(x), device=x.device).split(size):
        losses, factors = engine.factors(x[rows], y[rows])
        _check(engine, losses, factors)
        for layer, (a, delta) in factors.items():
            delta = delta.to(torch.promote_types(delta.dtype, torch.float32))
            inputs = torch.cat([part.to(delta.dtype) for part in _inputs(layer, a, engine.compared)], dim=1)
            products = delta.T @ inputs, inputs.T @ inputs, delta.T @ delta
            sums[layer] = [sum(pair) for pair in zip(products, sums.get(layer, (0, 0, 0)), strict=True)]
    found = {p: torch.zeros_like(p) for p in engine.compared}
    for layer, parts in sums.items():
        m, a, g = (part / len(x) for part in parts)
        solved = _solve(g, _solve(a, m.T, len(x)).T, len(x))
        if layer.weight in found:
            found[layer.weight] = solved[:, : layer.in_features].contiguous()
        if layer.bias in found:
            found[layer.bias] = solved[:, -1].contiguous()
    return found


def _inputs(layer, a, compared):
    """What the compared parameters of a layer are multiplied by: its input for the weight, one for the bias."""
    return [part for p, part in ((layer.weight, a), (layer.bias, torch.ones_like(a[:, :1]))) if p in compared]


def _solve(matrix, right, n):
    """(matrix + λ I)⁻¹ right, for a mean over n samples; zero where the matrix is."""
    damping = math.sqrt(len(matrix) / n) * matrix.diagonal().mean() + torch.finfo(matrix.dtype).tiny
    damped = matrix + damping * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(damped))


def _check(engine, losses, factors):
    names = [engine.compared[p] for p in engine.formed]
    for layer, (a, _) in factors.items():
        if type(layer) is not nn.Linear or a.ndim != 2:
            names += [engine.compared[p] for p in layer.parameters(recurse=False) if p in engine.compared]
    if names:
        problem = f"{names[0]} has no natural gradient, for it belongs to no Linear layer of vectors"
        raise InputError("model", "natural", problem, "compare others by grad_params")
    if not losses.isfinite().all():
        problem = "the loss of a target sample is not finite"
        raise InputError("trajectory", "learning_rate", problem, "lower it or scale the data")
