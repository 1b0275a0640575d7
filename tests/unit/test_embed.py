import numpy as np
import scanpy as sc

from embed import lay_out


def test_many_profiles_are_laid_out_by_a_sample(rng, monkeypatch):
    def umap(data, random_state):
        assert data.obsp["distances"].shape == (9000, 9000)
        data.obsm["X_umap"] = np.asarray(data.X)[:, :2]

    monkeypatch.setattr(sc.tl, "umap", umap)  # takes long; beyond 8,192 scanpy finds neighbours another way
    monkeypatch.setattr("embed.MOST", 9000)
    latent = rng.normal(size=(9500, 3)).astype(np.float32)
    found = lay_out(latent, rng, 1, "general")
    laid_out = ~np.isnan(found).any(axis=1)
    assert laid_out.sum() == 9000 and np.array_equal(found[laid_out], latent[laid_out, :2])
