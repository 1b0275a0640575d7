import numpy as np
import pytest
import torch

from dvgs.training.fit import r2
from dvgs.training.models import make_autoencoder

SIZES = {"hidden": (12,), "latent": 4}


def test_r2_is_that_of_scikit_learn(rng):
    from sklearn.metrics import r2_score

    x = (rng.normal(size=(300, 20)) + 1000 * rng.normal(size=20)).astype(np.float32)
    model = make_autoencoder(20, **SIZES, seed=2)
    expected = r2_score(x, model(torch.from_numpy(x)).detach().numpy(), multioutput="uniform_average")
    assert r2(model, torch.from_numpy(x)) == pytest.approx(expected, rel=1e-6)


def test_r2_of_a_constant_gene_and_in_blocks(rng, monkeypatch):
    x = torch.from_numpy(rng.normal(size=(30, 3)).astype(np.float32))
    x[:, 1] = 5
    half = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.eye_(half.weight)
    assert r2(half, x) == pytest.approx(1)
    with torch.no_grad():
        half.weight.mul_(0.5)
    whole = r2(half, x)
    monkeypatch.setattr("dvgs.training.fit.PREDICTION_CHUNK", 7)
    assert r2(half, x) == pytest.approx(whole, rel=1e-12)
    assert whole < 0.55  # two genes at most .75 each, the constant one 0
