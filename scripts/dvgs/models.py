"""The models: the published autoencoder, with sizes of the user's choice, and a classifier."""

from itertools import pairwise

import torch
from torch import nn


class Autoencoder(nn.Module):
    """A symmetric multilayer autoencoder with Mish between its layers; latent and output are linear.

    The published LINCS model is genes-256-256-64 and its mirror (666,642 parameters with 978 genes;
    arXiv 2405.08217), the default here. Input and output: (n, genes).
    """

    def __init__(self, n_genes, hidden=(256, 256), latent=64):
        super().__init__()
        self.architecture = {"n_genes": n_genes, "hidden": list(hidden), "latent": latent}
        sizes = [n_genes, *hidden, latent]
        self.encoder = _mlp(sizes)
        self.decoder = _mlp(sizes[::-1])

    def forward(self, x):
        return self.decoder(self.encoder(x))


def _mlp(sizes):
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.Mish()]
    return nn.Sequential(*layers[:-1])


def make_autoencoder(n_genes, hidden, latent, seed):
    """An autoencoder with weights drawn from `seed`, leaving torch's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(n_genes, hidden, latent)


def make_classifier(n_features, hidden, n_classes, seed):
    """A multilayer perceptron with Mish between its layers; input (n, features), output (n, classes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _mlp([n_features, *hidden, n_classes])


def reconstruction_loss(prediction, y):
    """Mean squared error of every profile over its genes, (n,)."""
    # The backward pass of a norm is one product; that of mse_loss and its mean goes over the genes three times.
    return torch.linalg.vector_norm(prediction - y, dim=1).square() / y.shape[1]


def make_conv_autoencoder(seed, channels=(3, 32, 32, 10)):
    """A convolutional autoencoder: 4 x 4 kernels of stride 2 and their mirror, Mish between; images (n, 3, 32, 32).

    With the default channels the published one (46,221 parameters; arXiv 2405.08217).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        down = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(channels)]
        up = [nn.ConvTranspose2d(b, a, 4, stride=2, padding=1) for a, b in reversed(list(pairwise(channels)))]
        layers = [part for layer in down + up for part in (layer, nn.Mish())]
        return nn.Sequential(*layers[:-1])
