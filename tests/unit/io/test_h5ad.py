import time

import numpy as np
import pandas as pd
import pytest

from dvgs.io.h5ad import write_h5ad


def test_rows_that_do_not_fit_are_an_error(tmp_path):
    obs, var = (pd.DataFrame(index=list("abcd")[:n]) for n in (4, 2))
    for blocks in (np.zeros((4, 3)), np.zeros((3, 2)), np.zeros((5, 2))):
        with pytest.raises(ValueError, match="for "):
            write_h5ad(tmp_path / "x.h5ad", blocks, obs, var)
    assert list(tmp_path.iterdir()) == []


def test_the_same_data_is_the_same_bytes_a_second_later(tmp_path, rng):
    x, obs, var = rng.normal(size=(4, 2)).astype(np.float32), *(pd.DataFrame(index=list("abcd")[:n]) for n in (4, 2))
    for name in ("first", "second"):
        write_h5ad(tmp_path / name, x, obs.assign(group=list("xyxy")), var, uns={"n": 1}, obsm={"X_latent": x})
        time.sleep(1.1)  # HDF5 would note the second
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
