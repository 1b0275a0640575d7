import re

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from dvgs.errors import InputError
from dvgs.training import checkpoints
from dvgs.training.fit import Training, batches
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.valuation import recording
from dvgs.valuation import trajectory as module
from dvgs.valuation.trajectory import Trajectory, TrajectorySettings, is_settled, rank_agreement, record_trajectory

SIZES = {"hidden": (12,), "latent": 4}


@pytest.fixture
def x():
    return torch.randn(50, 20, generator=torch.Generator().manual_seed(1))


def autoencoder():
    return make_autoencoder(20, **SIZES, seed=5)


def record(path, x, model=None, pilot=None, **options):
    options = {"epochs": 6, "batch_size": 20, "learning_rate": 1e-2} | options
    model = model or autoencoder()
    record_trajectory(path, model, reconstruction_loss, (x, x), TrajectorySettings.from_config(5, **options), pilot)
    return model


def rows_of(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def test_trajectory_is_the_training_step_by_step(tmp_path, x):
    path = tmp_path / "trajectory.h5"
    model = record(path, x)
    again, seen = autoencoder(), []

    def remember(step, loss):
        gradient = parameters_to_vector(p.grad for p in again.parameters())
        seen.append((parameters_to_vector(again.parameters()).detach().clone(), gradient.clone(), loss.item()))

    schedule = Schedule(steps=18, batch_size=20, learning_rate=1e-2)
    training = Training(again, reconstruction_loss, schedule, module.derive_seed(5, "order", 0))
    training.run((x, x), before_step=remember)
    found = rows_of(path)
    assert found["parameters"].shape == (18, sum(p.numel() for p in model.parameters())) and found["n_rows"] == [18]
    for t, (parameters, gradient, loss) in enumerate(seen):
        assert np.array_equal(found["parameters"][t], parameters.numpy())
        assert np.array_equal(found["gradients"][t], gradient.numpy())
        assert found["loss"][t] == np.float32(loss)
    assert torch.equal(parameters_to_vector(again.parameters()), parameters_to_vector(model.parameters()))
    assert [p.name for p in tmp_path.iterdir()] == ["trajectory.h5"]


def test_target_gradient_is_the_gradient_at_those_parameters(tmp_path, x):
    path = tmp_path / "trajectory.h5"
    record(path, x)
    rows = next(batches(50, 20, module.derive_seed(5, "order", 0)))
    with Trajectory(path) as trajectory:
        gradient = trajectory.at(0)
        loss = reconstruction_loss(trajectory.model(x[rows]), x[rows]).mean()
        expected = torch.autograd.grad(loss, list(trajectory.model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradient, expected, strict=True))


def test_every_other_step(tmp_path, x):
    record(tmp_path / "all.h5", x)
    record(tmp_path / "some.h5", x, every=4)
    everything, some = rows_of(tmp_path / "all.h5"), rows_of(tmp_path / "some.h5")
    assert np.array_equal(everything["gradients"][::4], some["gradients"])


def test_restarts_start_from_other_weights(tmp_path, x):
    path = tmp_path / "trajectory.h5"
    record(path, x, restarts=3)
    with Trajectory(path) as trajectory:
        assert (len(trajectory), trajectory.n_rows, trajectory.restarts) == (54, 18, 3)
    found = rows_of(path)["parameters"]
    assert np.array_equal(found[0], parameters_to_vector(autoencoder().parameters()).detach().numpy())
    starts = found[[0, 18, 36]]
    assert np.abs(np.corrcoef(starts) - np.eye(3)).max() < 0.2
    assert np.allclose(starts.std(axis=1), starts.std(), rtol=0.1)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(20))

        def forward(self, x):
            return x * self.scale

    with pytest.raises(InputError, match=r"Own cannot draw its weights again.*reset_parameters"):
        record(tmp_path / "own.h5", x, model=Own(), restarts=2)


def test_training_ends_when_the_ranking_is_stable(tmp_path, x, caplog):
    source = torch.randn(80, 20)
    caplog.set_level("INFO")
    record(tmp_path / "short.h5", x, epochs=60, restarts=2, stable=0.9, pilot=(source, source))
    record(tmp_path / "long.h5", x, epochs=60)
    short, long = rows_of(tmp_path / "short.h5"), rows_of(tmp_path / "long.h5")
    n = int(short["n_rows"][0])
    assert 16 <= n < 180
    assert f"after {n} of 180 steps the ranking is stable to 0.9" in caplog.text
    assert np.array_equal(short["parameters"][:n], long["parameters"][:n])
    assert rank_agreement(short["pilot"][:n]) >= 0.9
    with Trajectory(tmp_path / "short.h5") as trajectory:
        assert len(trajectory) == 2 * n  # the second restart is as long
        trajectory.at(2 * n - 1)
    caplog.clear()
    record(tmp_path / "never.h5", x, epochs=8, stable=0.999999, pilot=(source, source))
    assert re.search(r"after all 24 steps the ranking is stable to 0\.\d+, not 0.999999", caplog.text)


def test_diverging_training_is_said(tmp_path, x):
    with pytest.raises(
        InputError, match=r"trajectory: learning_rate: the target's loss is (nan|inf) at step \d+; lower"
    ):
        record(tmp_path / "t.h5", x * 1e12, learning_rate=1e15)
    assert not (tmp_path / "t.h5").exists()


def test_a_disk_that_fills_up_is_an_error(small_disk, x):
    with pytest.raises(OSError, match="No space left on device"):
        record(small_disk / "t.h5", x, epochs=100)
    assert not (small_disk / "t.h5").exists()


class Stop(Exception):
    pass


def test_settled_is_where_the_second_half_brought_little():
    steps = np.arange(100)
    assert is_settled(np.exp(-steps / 10)) and not is_settled(np.exp(-steps / 80))
    assert not is_settled(np.ones(100)) and not is_settled(1.0 + steps)  # what never fell, and what rises
    assert not is_settled(1 - steps / 1000)  # hardly begun: the ranking does not change then, either
    assert is_settled(np.append(1.0, np.full(99, 0.1)))


@pytest.mark.parametrize(
    "options",
    [{"restarts": 2}, {"every": 3, "restarts": 2}, {"stable": 0.8, "epochs": 30}, {"natural": True, "restarts": 2}],
)
def test_an_interrupted_recording_goes_on_to_the_same_bytes(tmp_path, x, monkeypatch, options, caplog):
    """Stopped again and again, between the writing of a row and its checkpoint or after it."""
    caplog.set_level("INFO")
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    if "stable" in options:
        options = options | {"pilot": (x, x)}
    model = lambda: nn.Sequential(nn.Linear(20, 9), nn.Dropout(0.3), nn.Linear(9, 20))  # noqa: E731
    torch.manual_seed(3)
    start = model().state_dict()

    def begin():
        network = model()
        network.load_state_dict(start)
        return network

    undisturbed, path = tmp_path / "undisturbed.h5", tmp_path / "path.h5"
    record(undisturbed, x, begin(), **options)
    kills = 0
    while not path.exists():
        name, last, calls = ("write", "keep")[kills % 2], 1 + kills % 3, []
        real = getattr(recording.Recording, name)

        def interrupted(self, *arguments, real=real, last=last, calls=calls):
            real(self, *arguments)
            calls.append(1)
            if len(calls) == last:
                raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(recording.Recording, name, interrupted)
            try:
                record(path, x, begin(), **options)
            except Stop:
                kills += 1
    assert kills > 5
    assert "going on at step" in caplog.text
    assert path.read_bytes() == undisturbed.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"path.h5", "undisturbed.h5"}


def test_a_checkpoint_of_another_recording_is_not_taken_up(tmp_path, x, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    path = tmp_path / "path.h5"

    def stop(self, restart, training, real=recording.Recording.keep):
        real(self, restart, training)
        if training.step == 7:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(recording.Recording, "keep", stop)
        record(path, x)
    record(path, x + 1)
    record(tmp_path / "other.h5", x + 1)
    assert path.read_bytes() == (tmp_path / "other.h5").read_bytes()


def test_what_is_recorded_is_not_recorded_again(tmp_path, x):
    path = tmp_path / "path.h5"
    record(path, x)
    before = path.stat().st_mtime_ns
    record(path, x)
    assert path.stat().st_mtime_ns == before
    record(path, x, epochs=7)
    assert rows_of(path)["n_rows"] == [21]


def test_every_batch_is_whole_and_every_profile_comes_once_an_epoch():
    order = batches(21, 5, seed=1)
    rows = [next(order) for _ in range(21)]  # five epochs
    assert all(len(r) == 5 for r in rows)
    assert torch.bincount(torch.cat(rows)).tolist() == [5] * 21
