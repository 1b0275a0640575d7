"""The trajectory: the parameters visited while a model is trained on the target, and the target's gradients.

It is a file, so that profiles can be scored in independent jobs, by the same numbers, at any later time.
"""

import json

import h5py
import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from dvgs.files import written_whole
from dvgs.jobs import Progress
from dvgs.models import Autoencoder, make_autoencoder, reconstruction_loss
from dvgs.training import fit, steps_per_epoch


def record_trajectory(path, x, *, hidden, latent, epochs, batch_size, learning_rate, seed):
    """Train an autoencoder on the target and write every step to an HDF5 file.

    x: the target's profiles, (n, genes) float32 tensor on the device to train on. The similarity is taken
    before each step, so row 0 is the random start (arXiv 2405.08217, algorithm 1). Datasets: `parameters` and
    `gradients` (steps, parameters) float32, and `loss` (steps,), the target's loss.
    """
    architecture = {"n_genes": x.shape[1], "hidden": list(hidden), "latent": latent}
    model = make_autoencoder(**architecture, seed=seed).to(x.device)
    steps = epochs * steps_per_epoch(len(x), batch_size)
    n_parameters = sum(p.numel() for p in model.parameters())
    progress = Progress("training on the target, steps", steps)
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["architecture"] = json.dumps(architecture)
        parameters = file.create_dataset("parameters", (steps, n_parameters), np.float32)
        gradients = file.create_dataset("gradients", (steps, n_parameters), np.float32)
        losses = file.create_dataset("loss", (steps,), np.float32)

        def before_step(step, loss):
            parameters[step] = parameters_to_vector(model.parameters()).detach().cpu().numpy()
            gradients[step] = parameters_to_vector(p.grad for p in model.parameters()).cpu().numpy()
            losses[step] = loss.item()
            progress.advance()

        fit(
            model,
            reconstruction_loss,
            x,
            x,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            before_step=before_step,
        )
    return model


class Trajectory:
    """A trajectory file open for reading: a context manager, `len()` is its number of steps."""

    def __init__(self, path, device="cpu"):
        self._file = h5py.File(path, "r")
        self.model = Autoencoder(**json.loads(self._file.attrs["architecture"])).to(device)
        self._device = device

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __len__(self):
        return len(self._file["loss"])

    def at(self, step):
        """Put `model` to the parameters of a step; return the target gradient, one tensor a parameter."""
        vector_to_parameters(self._vector("parameters", step), self.model.parameters())
        sizes = [p.numel() for p in self.model.parameters()]
        pieces = self._vector("gradients", step).split(sizes)
        return [g.view_as(p) for g, p in zip(pieces, self.model.parameters(), strict=True)]

    def _vector(self, name, step):
        return torch.from_numpy(self._file[name][step]).to(self._device)
