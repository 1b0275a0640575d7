"""The target's natural gradient: where its gradient points once directions in which samples differ anyway count less.

    F⁻¹ ∇L,   F ≈ A ⊗ G for each layer        (Amari 1998, doi:10.1162/089976698300017746; K-FAC,
                                              Martens and Grosse 2015, arXiv 1503.05671)

F is the empirical Fisher matrix: of the labels that are there, not of those that the model would draw. Kunstner et al.
(2019, arXiv 1905.12558) say how the two differ.

For a layer y = W a + b let ã = (a, 1), and δ_i be the gradient of sample i's loss with respect to y. Over the target,

    ∇L = M = mean δ_i ã_iᵀ      A = mean ã_i ã_iᵀ      G = mean δ_i δ_iᵀ      F⁻¹ ∇L = (G + λ_G I)⁻¹ M (A + λ_A I)⁻¹

Compared with this direction in place of M, a sample's gradient says more about the sample and less about what all
samples have in common. The samples' own gradients stay as they are, so scoring costs what it did. λ is the mean
eigenvalue times √(width / n), which is how far apart the eigenvalues lie only because they come from n samples
(Marchenko and Pastur 1967). So wide layers of small targets are damped most.
"""

import math

import torch
from torch import nn

from dvgs.errors import InputError
from dvgs.gradients.engine import GradientSimilarity


def natural_gradient(
    engine: GradientSimilarity, x: torch.Tensor, y: torch.Tensor, size: int
) -> dict[nn.Parameter, torch.Tensor]:
    """The natural gradient of a target's mean loss: by parameter that engine compares, a tensor of its shape.

    engine: what it compares must belong to Linear layers of vectors. x, y: the whole target, at least one sample, on
    the model's device. size: samples that pass through the model at once. Half precision gives
    float32. Memory: some matrices as wide as the widest layer. Raises InputError for other layers, and for a loss or a
    gradient that is not finite.
    """
    sums: dict[nn.Linear, list[torch.Tensor]] = {}
    for inputs, labels in zip(x.split(size), y.split(size), strict=True):
        losses, factors = engine.factors(inputs, labels)
        linear = _linear_only(engine, factors)
        _check_finite(losses)
        for layer, (a, delta) in linear.items():
            delta = delta.to(torch.promote_types(delta.dtype, torch.float32))
            a = torch.cat([values.to(delta.dtype) for values in _inputs(layer, a, engine.compared)], dim=1)
            products = [delta.T @ a, a.T @ a, delta.T @ delta]
            sums[layer] = [p + q for p, q in zip(products, sums[layer], strict=True)] if layer in sums else products
    found = {p: torch.zeros_like(p) for p in engine.compared}
    for layer, products in sums.items():
        _check_finite(*products)
        m, a, g = (product / len(x) for product in products)
        solved = _solve(g, _solve(a, m.T, len(x)).T, len(x))
        for name, p in layer.named_parameters(recurse=False):
            if p in found:
                found[p] = (solved[:, -1] if name == "bias" else solved[:, : layer.in_features]).contiguous()
    return found


def _inputs(layer, a, compared):
    """What the compared parameters of a layer are multiplied by: its input for the weight, one for the bias."""
    return [values for p, values in ((layer.weight, a), (layer.bias, torch.ones_like(a[:, :1]))) if p in compared]


def _solve(matrix, right, n):
    """(matrix + λ I)⁻¹ right, where matrix is a mean over n samples, and is changed; zero where right is."""
    mean = matrix.diagonal().mean()
    matrix.diagonal().add_(math.sqrt(len(matrix) / n) * mean + torch.finfo(matrix.dtype).tiny)
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))


def _linear_only(engine, factors) -> dict[nn.Linear, tuple[torch.Tensor, torch.Tensor]]:
    """The factors; refused where there are others than those of Linear layers of vectors."""
    linear = {layer: pair for layer, pair in factors.items() if type(layer) is nn.Linear and pair[0].ndim == 2}
    others = [p for layer in factors if layer not in linear for p in layer.parameters(recurse=False)]
    for p in engine.formed + [p for p in others if p in engine.compared]:
        problem = f"{engine.compared[p]} has no natural gradient; Linear layers have one that see vectors, once a pass"
        raise InputError("model", "natural", f"{problem}, with weights of their own", "compare others by grad_params")
    return linear


def _check_finite(*tensors):
    if not all(tensor.isfinite().all() for tensor in tensors):
        problem = "the target's losses, its gradients or their squares are not finite"
        raise InputError("trajectory", "learning_rate", problem, "lower it or scale the data")
