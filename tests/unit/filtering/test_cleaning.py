import numpy as np
import pandas as pd
import pytest
import torch

from dvgs.columns import APC_COLUMNS
from dvgs.errors import InputError
from dvgs.filtering.cleaning import encode, train_final, with_values
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule


def test_values_and_apc_stand_beside_the_metadata():
    obs = pd.DataFrame({"cell": ["x", "y", "z"]}, index=pd.Index(["a", "b", "c"], name="sig_id"))
    values = pd.DataFrame({"profile_id": ["c", "a", "b"], "cosine": [3.0, 1, 2], "role": ["test", "source", "source"]})
    apc = pd.DataFrame({"sig_id": ["a", "b", "c"], "apc": [0.1, np.nan, 0.3], "reason": ["", "single replicate", ""]})
    found = with_values(obs, values, apc)
    expected = obs.assign(cosine=[1.0, 2, 3], role=["source", "source", "test"])
    expected = expected.assign(apc=[0.1, np.nan, 0.3], apc_reason=["", "single replicate", ""])
    pd.testing.assert_frame_equal(found, expected)
    assert set(found.columns) & set(APC_COLUMNS) == {"apc", "apc_reason"}
    assert list(obs) == ["cell"] and list(apc)[-1] == "reason"  # what was given stays as it was


def test_blocks_are_encoded_in_order(rng):
    x = rng.normal(size=(10, 6)).astype(np.float32)
    model = torch.nn.Module()
    model.encoder = torch.nn.Linear(6, 2)
    found = encode(model, iter([x[:7], x[7:]]))
    weight, bias = (part.detach().double().numpy() for part in model.encoder.parameters())
    np.testing.assert_allclose(found, x.astype(float) @ weight.T + bias, atol=1e-5)
    assert found.dtype == np.float32


def test_a_latent_space_that_is_not_finite_is_said():
    model = make_autoencoder(7, (4,), 2, seed=1)
    with pytest.raises(InputError, match=r"config: curves.learning_rate: the model of the cleaned profiles .*; lower"):
        encode(model, [np.ones((2, 7), np.float32), np.full((2, 7), np.inf, np.float32)])


def test_the_final_model_is_trained_from_its_seed_by_its_schedule(rng):
    x = torch.from_numpy(rng.normal(size=(20, 7)).astype(np.float32))
    schedule = Schedule(epochs=3, batch_size=8, learning_rate=0.01)
    found = train_final(x, {"hidden": [4], "latent": 2}, schedule, seed=5)
    again = fit(make_autoencoder(7, [4], 2, seed=5), reconstruction_loss, (x, x), schedule.with_steps(9), seed=5)
    assert all(map(torch.equal, found.parameters(), again.parameters()))
