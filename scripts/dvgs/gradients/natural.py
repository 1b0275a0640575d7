"""The target's natural gradient: where its gradient points once directions in which samples differ anyway count less.

    F⁻¹ ∇L,   F ≈ A ⊗ G for each layer        (Amari 1998, doi:10.1162/089976698300017746; K-FAC,
                                              Martens and Grosse 2015, arXiv 1503.05671)

F is the empirical Fisher matrix, of the labels that are there, not of those that the model would draw (what it is not,
say Kunstner et al. 2019, arXiv 1905.12558).

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
    """The natural gradient of a target's mean loss: by parameter that engine compares, a tensor of its shape.

    engine: a GradientSimilarity; what it compares must belong to Linear layers of vectors. x, y: the whole target, at
    least a sample, on the model's device. size: samples that pass through the model at once. Half precision gives
    float32. Memory: some matrices as wide as the widest layer. Raises InputError for other layers, and for a loss or a
    gradient that is not finite.
    """
    sums = {}
    for inputs, labels in zip(x.split(size), y.split(size), strict=True):
        losses, factors = engine.factors(inputs, labels)
        _check_layers(engine, factors)
        _check_finite(losses)
        for layer, (a, delta) in factors.items():
            delta = delta.to(torch.promote_types(delta.dtype, torch.float32))
            a = torch.cat([part.to(delta.dtype) for part in _inputs(layer, a, engine.compared)], dim=1)
            products = delta.T @ a, a.T @ a, delta.T @ delta
            sums[layer] = [p + q for p, q in zip(products, sums[layer], strict=True)] if layer in sums else products
    found = {p: torch.zeros_like(p) for p in engine.compared}
    for layer, parts in sums.items():
        _check_finite(*parts)
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
    """(matrix + λ I)⁻¹ right, for a mean over n samples, which is changed; zero where it is."""
    mean = matrix.diagonal().mean()
    matrix.diagonal().add_(math.sqrt(len(matrix) / n) * mean + torch.finfo(matrix.dtype).tiny)
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))


def _check_layers(engine, factors):
    unfit = [p for layer, (a, _) in factors.items() if type(layer) is not nn.Linear or a.ndim != 2
             for p in layer.parameters(recurse=False) if p in engine.compared]  # fmt: skip
    for p in engine.formed + unfit:
        problem = f"{engine.compared[p]} has no natural gradient; Linear layers have one that see vectors, once a pass"
        raise InputError("model", "natural", f"{problem}, with weights of their own", "compare others by grad_params")


def _check_finite(*tensors):
    if not all(tensor.isfinite().all() for tensor in tensors):
        problem = "the target's losses, its gradients or their squares are not finite"
        raise InputError("trajectory", "learning_rate", problem, "lower it or scale the data")
