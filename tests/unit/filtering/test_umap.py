import numpy as np
import pytest
import scanpy as sc

from dvgs.filtering.umap import lay_out


@pytest.mark.parametrize("n", [1, 2, 3])
def test_three_profiles_are_too_few_for_a_layout(rng, n):
    assert np.isnan(lay_out(rng.normal(size=(n, 3)).astype(np.float32), rng, 1, "general")).all()


def test_many_profiles_are_laid_out_by_a_sample(rng, monkeypatch):
    def umap(data, random_state):
        assert data.obsp["distances"].shape == (9000, 9000)
        data.obsm["X_umap"] = np.asarray(data.X)[:, :2]

    monkeypatch.setattr(sc.tl, "umap", umap)  # takes long; beyond 8,192 scanpy finds neighbours another way
    monkeypatch.setattr("dvgs.filtering.umap.LAID_OUT", 9000)
    latent = rng.normal(size=(9500, 3)).astype(np.float32)
    found = lay_out(latent, rng, 1, "general")
    laid_out = ~np.isnan(found).any(axis=1)
    assert laid_out.sum() == 9000 and np.array_equal(found[laid_out], latent[laid_out, :2])


def test_the_same_seed_gives_the_same_layout(rng):
    latent = rng.normal(size=(30, 3)).astype(np.float32)
    first, again = (lay_out(latent, rng, 7, "general") for _ in range(2))
    assert np.array_equal(first, again) and first.dtype == np.float32 and np.isfinite(first).all()
