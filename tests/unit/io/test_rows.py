import os

import h5py
import numpy as np
import pytest

from dvgs.errors import InputError
from dvgs.io.rows import Rows, ScratchRows, check_space, open_rows, place_dataset, place_datasets, runs


@pytest.fixture
def table(tmp_path, rng):
    """A table of 20 rows of 3 float32 behind 10 other bytes, and what is in it."""
    values = rng.normal(size=(20, 3)).astype(np.float32)
    path = tmp_path / "table"
    path.write_bytes(b"some head " + values.tobytes())
    with Rows(open(path, "r+b"), 10, (20, 3), np.float32) as rows:
        yield rows, values


@pytest.mark.parametrize(
    ("places", "expected"),
    [([], []), ([4], [(0, 1)]), ([0, 1, 2], [(0, 3)]), ([3, 4, 9, 8, 8, 9], [(0, 2), (2, 3), (3, 4), (4, 6)])],
)
def test_runs_of_neighbours(places, expected):
    assert list(runs(np.array(places, int))) == expected


@pytest.mark.parametrize("places", [[], [0], [19], [3, 4, 5], [5, 4, 4, 19, 0, 1], list(range(20))])
def test_rows_at_any_positions(table, places):
    rows, values = table
    found = rows.gather(np.array(places, int))
    assert found.dtype == np.float32 and found.shape == (len(places), 3)
    assert np.array_equal(found, values[places])


@pytest.mark.parametrize("places", [[20], [3, -1], [10**9]])
def test_positions_outside_the_table(table, places):
    with pytest.raises(IndexError, match="of 20"):
        table[0].gather(np.array(places))


def test_rows_written_in_any_order(table, rng):
    rows, values = table
    places, new = np.array([7, 2, 3, 19]), rng.normal(size=(4, 3))
    rows.write(places, new)
    values[places] = new
    rows.write([5], np.array([[1, 2, 3]]))
    values[5] = [1, 2, 3]
    assert np.array_equal(rows.read(0, 20), values)
    rows.write(np.empty(0, int), np.empty((0, 3)))
    assert np.array_equal(rows.read(0, 20), values)
    assert rows.read(4, 4).shape == (0, 3)
    with pytest.raises(ValueError, match=r"rows of \(2,\) for \(20, 3\)"):
        rows.write([0], np.zeros((1, 2)))


def test_what_comes_in_many_reads_and_writes_is_whole(table, rng, monkeypatch):
    """One read and one write of the system end after 2 GB, here after 5 bytes."""
    rows, _ = table
    new, pread, pwrite = rng.normal(size=(20, 3)).astype(np.float32), os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: pread(file, [buffers[0][:5]], offset))
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:5], offset))
    rows.write(np.arange(20), new)
    assert np.array_equal(rows.read(0, 20), new)
    assert np.array_equal(rows.gather(np.array([9, 10, 2])), new[[9, 10, 2]])


def test_blocks_with_and_without_some_rows(table, rng, monkeypatch):
    rows, values = table
    monkeypatch.setattr("dvgs.io.rows.ROWS_BLOCK_BYTES", 100)  # 8 rows of 12 bytes
    assert [len(block) for block in rows.blocks()] == [8, 8, 4]
    assert np.array_equal(np.concatenate(list(rows.blocks())), values)
    keep = rng.random(20) < 0.5
    assert np.array_equal(np.concatenate(list(rows.blocks(keep))), values[keep])


def test_a_file_that_ends_too_early_is_an_error(tmp_path, table):
    rows, values = table
    os.truncate(tmp_path / "table", 10 + 12 * 17 + 5)
    assert np.array_equal(rows.read(0, 17), values[:17])
    for read in (lambda: rows.read(0, 20), lambda: rows.gather(np.array([2, 17])), lambda: rows.read(17, 18)):
        with pytest.raises(OSError, match="table ends within row 17"):
            read()


def test_scratch_leaves_nothing_behind(tmp_path):
    with ScratchRows(tmp_path / "new", (4, 2), np.uint16) as rows:
        rows.write([3], np.array([[7, 8]]))
        assert rows.read(2, 4).tolist() == [[0, 0], [7, 8]] and list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_is_told_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    check_space(tmp_path, 100)
    with pytest.raises(InputError, match=r"disk: 5.0 GB are needed on this disk, 0.0 GB are free; free some space"):
        check_space(tmp_path, 5 * 10**9)
    with ScratchRows(tmp_path, (5, 5), np.float32):
        pass
    with pytest.raises(InputError, match="are needed on this disk"):
        ScratchRows(tmp_path, (5, 5), np.float32, also=1)


def test_datasets_have_their_places_early(tmp_path, rng):
    shapes = {"matrix": ((4, 3), np.float64), "vector": ((6,), np.int64), "cube": ((2, 3, 5), np.float32)}
    place_datasets(tmp_path / "x.h5", shapes | {"nothing": ((4, 0), np.float32)}, {"key": "k", "n": 2})
    expected = {name: rng.integers(0, 99, shape).astype(dtype) for name, (shape, dtype) in shapes.items()}
    rows = open_rows(tmp_path / "x.h5")
    assert {name: r.shape for name, r in rows.items()} == {"matrix": (4, 3), "vector": (6, 1), "cube": (2, 15)}
    for name, array in expected.items():
        rows[name].write(np.arange(len(array)), array.reshape(len(array), -1))
        rows[name].close()
    with h5py.File(tmp_path / "x.h5") as file:
        assert dict(file.attrs) == {"key": "k", "n": 2} and set(file) == set(shapes)
        assert all(np.array_equal(file[name][:], array) for name, array in expected.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_only_contiguous_datasets_are_rows(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        place_dataset(file, "x", (2, 2), np.float32)
        place_dataset(file, "empty", (0, 2), np.float32)
        file.create_dataset("chunked", (2, 2), np.float32, chunks=(1, 2))
        file["scalar"], file["group/inside"] = 1, np.zeros(3)
    rows = open_rows(tmp_path / "x.h5", "rb")
    assert set(rows) == {"x", "empty"} and rows["empty"].read(0, 0).shape == (0, 2)
    with pytest.raises(OSError, match=r"not writable|Bad file descriptor"):
        rows["x"].write([0], np.ones((1, 2)))
