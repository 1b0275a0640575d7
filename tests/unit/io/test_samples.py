import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dvgs.errors import InputError
from dvgs.io.samples import read_samples


@pytest.fixture
def arrays(rng):
    return {
        "source_x": rng.normal(size=(7, 3)),
        "source_y": rng.integers(0, 3, 7).astype(np.uint8),
        "target_x": rng.integers(0, 9, (4, 3)),
        "target_y": rng.integers(0, 3, 4),
    }


@pytest.fixture
def obs():
    obs = pd.DataFrame({"kind": list("babcaab"), "reference": [False, True, False, False, True, False, False]})
    return obs.set_axis([f"s{i}" for i in range(7)])


@pytest.mark.parametrize("labelled", [True, False])
def test_npz(tmp_path, arrays, labelled):
    if not labelled:
        arrays = {name: array for name, array in arrays.items() if name.endswith("x")}
    np.savez(tmp_path / "d.npz", **arrays)
    names, source, target = read_samples(tmp_path / "d.npz")
    assert names.tolist() == list(range(7))
    for who, (x, y) in (("source", source), ("target", target)):
        assert x.dtype == np.float32 and np.array_equal(x, arrays[f"{who}_x"].astype(np.float32))
        if labelled:
            assert y.dtype == np.int64 and np.array_equal(y, arrays[f"{who}_y"])
        else:
            assert y is None


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("label", [None, "kind"])
def test_h5ad(tmp_path, rng, obs, layout, label):
    x = rng.integers(0, 3, (7, 5)).astype(np.float64)
    ad.AnnData(layout(x), obs).write_h5ad(tmp_path / "d.h5ad")
    names, source, target = read_samples(tmp_path / "d.h5ad", "reference", label)
    assert names.tolist() == ["s0", "s2", "s3", "s5", "s6"]
    assert np.array_equal(source[0], x[[0, 2, 3, 5, 6]]) and np.array_equal(target[0], x[[1, 4]])
    assert source[0].dtype == target[0].dtype == np.float32
    if label:
        assert source[1].tolist() == [1, 1, 2, 0, 1] and target[1].tolist() == [0, 0] and source[1].dtype == np.int64
    else:
        assert source[1] is None and target[1] is None


def test_samples_may_have_the_same_name(tmp_path, rng, obs):
    x = rng.normal(size=(7, 2))
    with pytest.warns(UserWarning, match="not unique"):
        ad.AnnData(x, obs.set_axis(["a"] * 7)).write_h5ad(tmp_path / "d.h5ad")
    names, source, _ = read_samples(tmp_path / "d.h5ad", "reference")
    assert names.tolist() == ["a"] * 5 and len(source[0]) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_x": None}, "target_x: is missing among source_x, source_y, target_y; add it"),
        ({"target_y": None}, "source_y, target_y: one is there without the other"),
        ({"source_x": np.array(["a"])}, "source_x: is no table of numbers, samples x features"),
        ({"source_x": np.zeros(3)}, "source_x: is no table of numbers"),
        ({"target_x": np.zeros((0, 3))}, "target_x: there are no samples"),
        (
            {"source_x": np.array([[0, 1], [np.nan, 0], [0, -np.inf]])},
            "2 of 3 samples hold NaN or infinity, sample 1 f",
        ),
        ({"source_y": np.array([0.5])}, "source_y: is no list of class numbers 0, 1, 2"),
        ({"target_y": np.array([0, -1])}, "target_y: is no list of class numbers"),
    ],
)
def test_an_npz_that_cannot_be_used(tmp_path, arrays, change, message):
    np.savez(tmp_path / "d.npz", **{name: array for name, array in (arrays | change).items() if array is not None})
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "d.npz")


def spoilt(values, value):
    values[[2, 5], 1] = value
    return values


@pytest.mark.parametrize(
    ("x", "columns", "message"),
    [
        (None, ("reference", None), r"\.X: is no table of numbers"),
        (
            spoilt(np.zeros((7, 3)), np.nan),
            ("reference", None),
            "2 of 7 samples hold NaN or infinity, sample 's2' first",
        ),
        (np.zeros((7, 3)), (None, None), "--target: is missing; name the boolean column"),
        (np.zeros((7, 3)), ("reference", "x"), r"\.obs\['x'\]: is not there; --label takes one of kind, reference"),
        (np.zeros((7, 3)), ("kind", None), "make it boolean, true for the target alone"),
        (np.zeros((7, 3)), ("nobody", None), "is bool with 1 different values, 0 missing; make it boolean"),
        (np.zeros((7, 3)), ("reference", "gaps"), r"\.obs\['gaps'\]: 2 samples have none; leave them out"),
    ],
)
def test_an_h5ad_that_cannot_be_used(tmp_path, obs, x, columns, message):
    if columns[0] == "nobody":
        obs["nobody"] = False
    if columns[1] == "gaps":
        obs["gaps"] = pd.Categorical([*"abcab", None, None])
    ad.AnnData(x, obs).write_h5ad(tmp_path / "d.h5ad")
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "d.h5ad", *columns)


def test_files_that_are_something_else(tmp_path):
    for name, message in (
        ("d.npz", "as an .npz of plain numbers"),
        ("d.h5ad", "as an .h5ad"),
        ("d.txt", "neither .npz"),
    ):
        with pytest.raises(InputError, match=f"{name}: data: is not there"):
            read_samples(tmp_path / name)
        (tmp_path / name).write_text("nothing")
        with pytest.raises(InputError, match=message):
            read_samples(tmp_path / name)
    with pytest.raises(InputError, match=r"an .npz has no columns; leave out"):
        read_samples(tmp_path / "d.npz", label_column="kind")
