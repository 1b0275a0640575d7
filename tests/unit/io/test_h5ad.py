import os
import time

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dvgs.errors import InputError
from dvgs.io.h5ad import H5adFile, create_x, fill_x, read_obs, read_obs_and_x, read_var, write_h5ad


@pytest.fixture
def tables(rng):
    """obs, var and X of six profiles and four genes, half of the values 0."""
    obs = pd.DataFrame({"n": range(6), "kind": pd.Categorical(list("abacab"))}, index=[f"p{i}" for i in range(6)])
    obs["marked"] = [True, False] * 3
    var = pd.DataFrame({"symbol": list("WXYZ")}, index=list("wxyz"))
    return obs, var, (rng.normal(size=(6, 4)) * rng.integers(0, 2, (6, 4))).astype(np.float32)


LAYOUTS = {
    "dense": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_files_of_anndata_hold_what_anndata_reads(tmp_path, tables, monkeypatch, layout, compression):
    obs, var, x = tables
    ad.AnnData(LAYOUTS[layout](x), obs, var, layers={"other": -x}).write_h5ad(tmp_path / "x.h5ad", compression)
    monkeypatch.setattr("dvgs.io.matrix.MATRIX_BLOCK_BYTES", 32)  # two profiles
    with H5adFile(tmp_path / "x.h5ad") as file:
        assert file.shape == (6, 4) and file.profile_ids.tolist() == list(obs.index)
        assert file.gene_ids.tolist() == list("wxyz")
        blocks = list(file.blocks([3, 1], [5, 0, 1]))
        expected = ad.read_h5ad(tmp_path / "x.h5ad")
        assert file.metadata("profile").equals(expected.obs) and file.metadata("gene").equals(expected.var)
    assert np.concatenate([p for p, _ in blocks]).tolist() == [0, 1, 5]
    assert np.array_equal(np.concatenate([v for _, v in blocks]), x[np.ix_([0, 1, 5], [3, 1])])
    found, whole = read_obs_and_x(tmp_path / "x.h5ad")
    assert found.equals(expected.obs) and np.array_equal(whole, x)
    assert read_obs(tmp_path / "x.h5ad").equals(expected.obs) and read_var(tmp_path / "x.h5ad").equals(expected.var)


def test_a_file_of_anndata_before_0_7(tmp_path, tables):
    _, _, x = tables
    obs = np.array([(f"p{i}".encode(), i, i % 2) for i in range(6)], [("index", "S2"), ("n", "i8"), ("kind", "i1")])
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["X"], file["obs"] = x, obs
        file["var"] = np.array([(name.encode(),) for name in "wxyz"], [("index", "S1")])
        file["uns/kind_categories"] = np.array([b"a", b"b"])
    with H5adFile(tmp_path / "x.h5ad") as file:
        assert file.profile_ids.tolist() == [f"p{i}" for i in range(6)] and file.gene_ids.tolist() == list("wxyz")
        assert file.metadata("profile")["n"].tolist() == list(range(6))
        assert file.metadata("profile")["kind"].tolist() == list("ababab")
        assert np.array_equal(next(file.blocks(range(4)))[1], x)


def another_x(path, x):
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = x


def without(name):
    def spoil(path):
        with h5py.File(path, "a") as file:
            del file[name]

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("X"), "it has no X; put the matrix"),
        (without("obs"), "anndata cannot open it .*obs"),
        (
            lambda path: another_x(path, np.zeros((6, 3))),
            r"anndata cannot open it \(X is \(6, 3\), obs and var have 6 an",
        ),
        (lambda path: path.write_text("nothing"), "anndata cannot open it"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: os.truncate(path, 3000), "anndata cannot open it"),
    ],
)
def test_unusable_files_get_one_line(tmp_path, tables, spoil, message):
    obs, var, x = tables
    ad.AnnData(x, obs, var).write_h5ad(tmp_path / "x.h5ad")
    spoil(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match=rf"x.h5ad: input.profiles: {message}") as caught:
        H5adFile(tmp_path / "x.h5ad", "input.profiles")
    assert "\n" not in str(caught.value)


def test_a_written_file_is_what_anndata_reads(tmp_path, tables):
    obs, var, x = tables
    write_h5ad(tmp_path / "x.h5ad", iter([x[:1], x[1:]]), obs, var, uns={"n": 3}, obsm={"X_latent": x[:, :2]})
    found = ad.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(found.X, x) and found.X.dtype == np.float32 and found.uns["n"] == 3
    assert np.array_equal(found.obsm["X_latent"], x[:, :2])
    assert found.obs.equals(obs) and found.var["symbol"].tolist() == list("WXYZ")
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5ad"]


def test_x_is_written_in_any_order(tmp_path, tables):
    _, _, x = tables
    with create_x(tmp_path / "x.h5ad", x.shape) as rows:
        rows.write(np.array([5, 0, 1]), x[[5, 0, 1]])
        rows.write(np.array([2, 3, 4]), x[2:5])
    with h5py.File(tmp_path / "x.h5ad") as file:
        assert np.array_equal(file["X"][:], x) and dict(file["X"].attrs)["encoding-type"] == "array"
    with pytest.raises(ValueError, match=r"5 rows for \(6, 4\)"):
        fill_x(tmp_path / "y.h5ad", (6, 4), [x[:5]])


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


def test_a_killed_job_leaves_one_partial_file_that_the_next_overwrites(tmp_path, monkeypatch):
    x, obs, var = np.ones((2, 1), np.float32), pd.DataFrame(index=list("ab")), pd.DataFrame(index=["g"])
    real = ad.AnnData.write_h5ad

    def killed(self, path):
        real(self, path)
        os._exit(0)  # as SIGTERM and SIGKILL do, which no `finally` hears of

    left = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(ad.AnnData, "write_h5ad", killed)
            write_h5ad(tmp_path / "x.h5ad", x, obs, var)
        os.waitpid(child, 0)
        left.append(sorted(path.name for path in tmp_path.iterdir()))
    assert len(left[0]) == 2 and left[0] == left[1]
    write_h5ad(tmp_path / "x.h5ad", x, obs, var)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5ad"]
