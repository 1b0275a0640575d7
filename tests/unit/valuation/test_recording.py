"""The file of a trajectory; that it goes on to the same bytes after a kill is in test_trajectory."""

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from dvgs.training import checkpoints
from dvgs.training.fit import Training
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.valuation.recording import Recording


def model(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Linear(2, 3).to(dtype)


def gradients(value):
    return [torch.full((3, 2), value), torch.full((3,), -value)]


def test_rows_stand_where_they_were_written(tmp_path):
    path, network = tmp_path / "deep" / "a.h5", model()
    recording = Recording(path, "key", network, restarts=2, max_rows=3, n_pilot=0)
    for row in (4, 0, 2):
        recording.write(row, network, gradients(float(row)), loss=row / 2)
    assert (recording.restart, recording.step, recording.n_rows) == (0, 0, 3)
    assert not path.exists()  # until it is whole
    recording.finish()
    assert [file.name for file in path.parent.iterdir()] == ["a.h5"]
    with h5py.File(path) as file:
        assert file.attrs["key"] == "key" and file.attrs["restarts"] == 2 and "architecture" not in file.attrs
        assert file["parameters"].shape == (6, 9) and file["n_rows"][:].tolist() == [3]
        expected = np.concatenate([p.detach().numpy().ravel() for p in network.parameters()])
        for row in (0, 2, 4):
            assert np.array_equal(file["parameters"][row], expected)
            assert file["gradients"][row].tolist() == [row] * 6 + [-row] * 3 and file["loss"][row] == row / 2


@pytest.mark.parametrize(
    "dtype, stored", [(torch.float64, np.float64), (torch.float32, np.float32), (torch.bfloat16, np.float32)]
)
def test_numbers_are_stored_without_loss(tmp_path, dtype, stored):
    network = model(dtype)
    recording = Recording(tmp_path / "a.h5", "key", network, restarts=1, max_rows=1, n_pilot=0)
    recording.write(0, network, [torch.zeros_like(p) for p in network.parameters()], 0.1)
    recording.finish()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["parameters"].dtype == stored
        expected = torch.cat([p.detach().flatten() for p in network.parameters()]).double().numpy()
        assert np.array_equal(file["parameters"][0], expected)


def test_an_autoencoder_is_described(tmp_path):
    recording = Recording(tmp_path / "a.h5", "key", make_autoencoder(5, (4,), 2, 1), restarts=1, max_rows=1, n_pilot=7)
    recording.write_pilot(0, torch.arange(7.0))
    assert recording.pilot(1).tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    recording.finish()
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs["architecture"]) == {"n_genes": 5, "hidden": [4], "latent": 2}


def test_a_training_is_resumed_once_and_by_its_key_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0)

    def begin(key):
        return Recording(tmp_path / "a.h5", key, model(), restarts=3, max_rows=5, n_pilot=0)

    def training():
        schedule = Schedule(steps=5, batch_size=4, learning_rate=0.1)
        return Training(nn.Linear(2, 2), reconstruction_loss, schedule, seed=1)

    recording, left, x = begin("key"), training(), torch.randn(6, 2)
    left.run((x, x), before_step=lambda step, loss: step == 3)
    recording.keep(1, left)
    again, other = begin("key"), training()
    assert (again.restart, again.step) == (1, 3)
    again.resume(other)
    assert other.step == 3 and torch.equal(other.model.weight, left.model.weight)
    fresh = training()
    again.resume(fresh)  # the next restart begins at its beginning
    assert fresh.step == 0
    assert (begin("another").restart, begin("another").step) == (0, 0)
