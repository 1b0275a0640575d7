import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from dvgs.compendium.profiles import Profiles, fit_scaling
from dvgs.io.h5ad import write_h5ad
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together


@pytest.fixture
def stored(tmp_path, rng):
    x = (rng.normal(size=(50, 6)) * [1, 2, 3, 4, 5, 0] + [0, 1e4, 0, 0, 0, 7]).astype(np.float32)
    write_h5ad(
        tmp_path / "x.h5ad", iter([x[:20], x[20:]]), *(pd.DataFrame(index=[str(i) for i in range(n)]) for n in (50, 6))
    )
    return tmp_path / "x.h5ad", x


def test_scaling_is_fitted_on_the_given_rows_alone(stored, monkeypatch):
    path, x = stored
    monkeypatch.setattr("dvgs.compendium.profiles.BLOCK_PROFILES", 7)
    rows = np.arange(0, 50, 2)
    scaling = fit_scaling(path, rows, "zscore")
    assert np.allclose(scaling["mean"], x[rows].mean(axis=0, dtype=np.float64), rtol=1e-7)
    assert np.allclose(scaling["sd"][:5], x[rows].std(axis=0, dtype=np.float64)[:5], rtol=1e-6)
    assert scaling["sd"][5] == 1  # a gene without variance
    found = Profiles(path, scaling).rows(np.array([0, 8, 3, 20, 49]))
    expected = (x[[0, 8, 3, 20, 49]] - scaling["mean"].to_numpy()) / scaling["sd"].to_numpy()
    assert np.allclose(found, expected, atol=2e-4) and found.dtype == np.float32


def test_no_scaling_leaves_profiles_as_they_are(stored):
    path, x = stored
    profiles = Profiles(path, fit_scaling(path, np.arange(50), "none"))
    assert np.array_equal(profiles.rows(np.arange(50)), x)
    assert profiles.rows(np.array([], int)).shape == (0, 6)


def test_positions_outside_the_file_and_a_file_that_was_cut(stored):
    path, _ = stored
    profiles = Profiles(path)
    for rows in ([50], [3, -1], [10**6]):
        with pytest.raises(IndexError, match="of 50"):
            profiles.rows(np.array(rows))
    with h5py.File(path) as file:
        offset = file["X"].id.get_offset()
    with open(path, "r+b") as file:
        file.truncate(offset + 4 * 6 * 49 + 8)
    assert profiles.rows(np.arange(49)).shape == (49, 6)
    with pytest.raises(OSError, match=r"x\.h5ad ends within row 49"):
        profiles.rows(np.array([49]))


def test_training_reads_batches_as_from_a_tensor(stored, rng, monkeypatch):
    path, _ = stored
    scaling = fit_scaling(path, np.arange(50), "zscore")
    rows = rng.permutation(50)[:30]
    assert torch.is_tensor(Profiles(path, scaling).for_training(rows, torch.device("cpu")))
    monkeypatch.setattr("dvgs.compendium.profiles.LARGEST_IN_MEMORY", 30)
    batches = Profiles(path, scaling).for_training(rows, torch.device("cpu"))
    whole = Profiles(path, scaling).tensor(rows, "cpu")
    assert batches.shape == whole.shape == (30, 6) and len(batches) == 30
    for index in (torch.tensor([3, 29, 0]), torch.tensor([[1, 2], [2, 7]])):
        assert torch.equal(batches[index], whole[index])
    schedule = Schedule(steps=9, batch_size=8, learning_rate=0.01)
    first, second = (
        fit(make_autoencoder(6, (4,), 2, seed=1), reconstruction_loss, (data, data), schedule, seed=3)
        for data in (batches, whole)
    )
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    first, second = (
        fit_together([make_autoencoder(6, (4,), 2, seed=k) for k in (1, 2)], reconstruction_loss, (data, data),
                     [torch.arange(30), torch.arange(20)], schedule, [3, 4])
        for data in (batches, whole)
    )  # fmt: skip
    for one, other in zip(first, second, strict=True):
        assert all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("shape", [(7,), (2, 3), (1, 1, 4), (0,), (2, 0)])
def test_positions_of_any_shape(stored, rng, shape):
    path, x = stored
    rows = rng.integers(0, 50, shape)
    found = Profiles(path).rows(rows)
    assert found.shape == (*shape, 6) and found.dtype == np.float32 and np.array_equal(found, x[rows])


def test_blocks_are_the_rows_in_order(stored, monkeypatch):
    path, x = stored
    monkeypatch.setattr("dvgs.compendium.profiles.BLOCK_PROFILES", 8)
    every = list(Profiles(path).blocks())
    assert [len(rows) for rows, _ in every] == [8] * 6 + [2]
    assert np.array_equal(np.concatenate([profiles for _, profiles in every]), x)
    wanted = np.arange(3, 50, 5)
    some = list(Profiles(path).blocks(wanted))
    assert np.array_equal(np.concatenate([rows for rows, _ in some]), wanted)
    assert np.array_equal(np.concatenate([profiles for _, profiles in some]), x[wanted])
