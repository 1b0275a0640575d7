"""The models: autoencoders as published, of vectors (in any size) and images; classifiers; a model of perturbations."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from dvgs.devices import seeded
from dvgs.training.mish import Mish, OnceDifferentiable


class Autoencoder(nn.Module):
    """A symmetric multilayer autoencoder with Mish between its layers; latent and output are linear.

    The default is the published LINCS model: genes-256-256-64 and its mirror (666,642 parameters with 978 genes;
    arXiv 2405.08217). Input and output: (n, genes).
    """

    def __init__(self, n_genes: int, hidden: Sequence[int] = (256, 256), latent: int = 64):
        super().__init__()
        self.architecture = {"n_genes": n_genes, "hidden": list(hidden), "latent": latent}
        sizes = [n_genes, *hidden, latent]
        self.encoder = _mlp(sizes)
        self.decoder = _mlp(sizes[::-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


def _mlp(sizes, dropout=0, norm=False, activation=Mish):
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out)]
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [activation()]
        layers += [nn.LayerNorm(n_out, elementwise_affine=False)] if norm else []
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


def make_autoencoder(n_genes: int, hidden: Sequence[int], latent: int, seed: int) -> Autoencoder:
    """An autoencoder with weights drawn from `seed`; torch's own random state does not change."""
    with seeded(seed):
        return Autoencoder(n_genes, hidden, latent)


def make_classifier(
    n_features: int,
    hidden: Sequence[int],
    n_classes: int,
    seed: int,
    dropout: float = 0,
    norm: bool = False,
    activation: type[nn.Module] = Mish,
) -> nn.Sequential:
    """A multilayer perceptron; input (n, features), output (n, classes).

    dropout: share of a hidden layer's outputs that is dropped before the activation. norm: whether each sample is
    standardised after the activation, by its mean and standard deviation over the layer. Published: two hidden layers
    of 100, dropout .5, norms, Mish.
    """
    with seeded(seed):
        return _mlp([n_features, *hidden, n_classes], dropout, norm, activation)


def make_image_classifier(
    hidden: Sequence[int], n_classes: int, seed: int, dropout: float = 0, norm: bool = False
) -> nn.Sequential:
    """One convolution of images (n, 3, 32, 32), and on it the perceptron of `make_classifier`; output (n, classes).

    The convolution gives 32 numbers for each of 8 x 8 patches, then a norm: 2,048 features. The published perceptron
    took as many, from an Inception embedding. dropout, norm: as for make_classifier.
    """
    n_channels, n_features = 32, 32 * 8 * 8
    with seeded(seed):
        patches = [nn.Conv2d(3, n_channels, 4, stride=4), nn.GroupNorm(1, n_channels, affine=False), Mish()]
        return nn.Sequential(*patches, nn.Flatten(), _mlp([n_features, *hidden, n_classes], dropout, norm))


def reconstruction_loss(prediction: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean squared error of every profile over its genes, (n,). It can be differentiated once, by the prediction."""
    return _SquaredError.apply(prediction, y)[0]


class _SquaredError(OnceDifferentiable):
    """Goes over the genes once backward; torch goes three times, for a norm as for mse_loss and its mean."""

    @staticmethod
    def forward(prediction, y):
        difference = prediction - y
        return torch.linalg.vector_norm(difference, dim=1).square() / y.shape[1], difference

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, _):
        (difference,) = ctx.saved_tensors
        return difference * (gradient * (2 / difference.shape[1]))[:, None], None


class PerturbationModel(nn.Module):
    """Predicts expression from embeddings of perturbagen and cell line, time and dose, by layers of Linear and Mish.

    As published for LINCS (arXiv 2405.08217), without its norms and dropout. Embeddings start at zero, so everything in
    them is learned. Input: (n, 4) float32, the numbers of perturbagen and cell line (whole, below 2^24), time and dose;
    output (n, genes).
    """

    def __init__(self, n_perturbagens: int, n_cells: int, n_genes: int, embedding: int, hidden: Sequence[int]):
        super().__init__()
        self.perturbagen = nn.Embedding(n_perturbagens, embedding)
        self.cell = nn.Embedding(n_cells, embedding)
        for table in (self.perturbagen, self.cell):
            nn.init.zeros_(table.weight)
        self.expression = _mlp([2 * embedding + 2, *hidden, n_genes])

    def forward(self, conditions: torch.Tensor) -> torch.Tensor:
        perturbagen, cell = conditions[:, :2].long().unbind(1)
        known = self.perturbagen(perturbagen), self.cell(cell), conditions[:, 2:]
        return self.expression(torch.cat(known, dim=1))


def make_perturbation_model(
    n_perturbagens: int, n_cells: int, n_genes: int, embedding: int, hidden: Sequence[int], seed: int
) -> PerturbationModel:
    """A PerturbationModel with weights drawn from `seed`; torch's own random state does not change."""
    with seeded(seed):
        return PerturbationModel(n_perturbagens, n_cells, n_genes, embedding, hidden)


def make_conv_autoencoder(seed: int) -> nn.Sequential:
    """The published convolutional autoencoder of images (n, 3, 32, 32) (46,221 parameters; arXiv 2405.08217).

    Kernels of 4 x 4 with stride 2, then their mirror, with Mish between all layers.
    """
    channels = (3, 32, 32, 10)
    with seeded(seed):
        down = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(channels)]
        up = [nn.ConvTranspose2d(b, a, 4, stride=2, padding=1) for a, b in reversed(list(pairwise(channels)))]
        layers = [module for layer in down + up for module in (layer, Mish())]
        return nn.Sequential(*layers[:-1])
