import json
import math
import os

import numpy as np
import pandas as pd
import pytest

from dvgs.io.files import read_json, write_csv, write_json, write_npz, write_parquet, written_whole


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "x"
    with pytest.raises(RuntimeError), written_whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with written_whole(path) as partial:
        partial.write_text("all")
    assert path.read_text() == "all" and list(path.parent.iterdir()) == [path]


def test_what_stops_a_write_leaves_the_older_file(tmp_path):
    write_json(tmp_path / "x.json", {"n": 1})
    before = (tmp_path / "x.json").read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "x.json", {"n": object()})
    assert (tmp_path / "x.json").read_bytes() == before and os.listdir(tmp_path) == ["x.json"]


def test_a_name_may_be_text_and_the_folder_new(tmp_path):
    with written_whole(f"{tmp_path}/a/b/x.txt") as partial:
        assert partial.parent == tmp_path / "a/b" and partial.name == ".partial.x.txt"
        partial.write_text("all")
    assert os.listdir(tmp_path / "a/b") == ["x.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "x"):
        pass


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "x.json", {"n": 1, "cutoff": "auto", "sd": float("nan"), "r2": 0.5})
    assert json.loads((tmp_path / "x.json").read_text())["sd"] is None
    found = read_json(tmp_path / "x.json")
    assert np.isnan(found.pop("sd")) and found == {"n": 1, "cutoff": "auto", "r2": 0.5}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_numbers_that_json_lacks_are_null(tmp_path, value):
    write_json(tmp_path / "x.json", {"a": value, "b": None, "c": 2})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": null,\n  "b": null,\n  "c": 2\n}\n'


@pytest.mark.parametrize("sep", [",", "\t"])
def test_text_keeps_its_rows_whatever_is_in_it(tmp_path, sep):
    frame = pd.DataFrame({"id": ["a\rb", "c\nd", 'e"f', "g,h\ti", "\r"], "n": [1.5, np.nan, -1, 0, 1e-300]})
    before = frame.copy()
    write_csv(tmp_path / "x.csv", frame, sep)
    assert frame.equals(before)
    found = pd.read_csv(tmp_path / "x.csv", sep=sep)
    assert found["id"].tolist() == ["a b", "c\nd", 'e"f', "g,h\ti", " "]
    assert np.array_equal(found["n"], frame["n"], equal_nan=True)
    write_csv(tmp_path / "x.csv", frame[:0], sep)
    assert (tmp_path / "x.csv").read_text() == f"id{sep}n\n"


def test_an_index_is_not_written(tmp_path):
    frame = pd.DataFrame({"x": [1, 2]}, index=["a", "b"])
    write_csv(tmp_path / "x.csv", frame)
    write_parquet(tmp_path / "x.parquet", frame)
    assert (tmp_path / "x.csv").read_text() == "x\n1\n2\n"
    assert pd.read_parquet(tmp_path / "x.parquet").equals(frame.reset_index(drop=True))


def test_parquet_keeps_types_and_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"id": ["a", None], "flag": [True, False], "n": [1, 2], "x": [np.nan, 0.1]})
    for name in ("first", "second"):
        write_parquet(tmp_path / name, frame)
    found = pd.read_parquet(tmp_path / "first")
    assert found.equals(frame) and (found.dtypes == frame.dtypes).all()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_npz_keeps_arrays(tmp_path, rng):
    arrays = {"a": rng.normal(size=(2, 3)), "b": np.arange(4, dtype=np.uint8), "c": np.array(["x", "yz"])}
    write_npz(tmp_path / "x.npz", arrays)
    with np.load(tmp_path / "x.npz") as found:
        assert set(found) == set(arrays)
        assert all(np.array_equal(found[k], v) and found[k].dtype == v.dtype for k, v in arrays.items())
    assert os.listdir(tmp_path) == ["x.npz"]
