import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from dvgs.filtering.cleaning import lay_out
from dvgs.report.figures import umap_figure


@pytest.mark.parametrize("n", [1, 2, 3])
def test_three_profiles_are_too_few_for_a_picture(rng, n):
    assert np.isnan(lay_out(rng.normal(size=(n, 3)).astype(np.float32), rng, 1, "general")).all()
    umap = pd.DataFrame({"x": [], "y": [], "value": [], "cell_iname": []})
    assert umap_figure(umap, "cosine").axes


def test_many_profiles_are_laid_out_by_a_sample(rng, monkeypatch):
    def umap(data, random_state):
        assert data.obsp["distances"].shape == (9000, 9000)
        data.obsm["X_umap"] = np.asarray(data.X)[:, :2]

    monkeypatch.setattr(sc.tl, "umap", umap)  # takes long; beyond 8,192 scanpy finds neighbours another way
    monkeypatch.setattr("dvgs.filtering.cleaning.LAID_OUT", 9000)
    latent = rng.normal(size=(9500, 3)).astype(np.float32)
    found = lay_out(latent, rng, 1, "general")
    laid_out = ~np.isnan(found).any(axis=1)
    assert laid_out.sum() == 9000 and np.array_equal(found[laid_out], latent[laid_out, :2])
