"""The models: the published autoencoder, with sizes of the user's choice."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from dvgs.errors import InputError


class Autoencoder(nn.Module):
    """A symmetric multilayer autoencoder with Mish between its layers; latent and output are linear.

    The published LINCS model is genes-256-256-64 and its mirror (666,642 parameters with 978 genes;
    arXiv 2405.08217), the default here. Input and output: (n, genes).
    """

    def __init__(self, n_genes, hidden=(256, 256), latent=64):
        super().__init__()
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


def reconstruction_loss(prediction, y):
    """Mean squared error of every profile over its genes, (n,)."""
    return F.mse_loss(prediction, y, reduction="none").mean(dim=1)  # one pass less than a difference and its square


def pick_device(name):
    """The torch device for "auto" (CUDA where there is one), "cpu" or "cuda"."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "torch finds no CUDA device here", "say auto or cpu")
    return torch.device(name)
