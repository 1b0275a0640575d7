import h5py
import numpy as np
import pandas as pd
import pytest
from cmapPy.pandasGEXpress.parse import parse

from dvgs.errors import InputError
from dvgs.io.gctx import GctxFile, write_gctx


@pytest.fixture
def small(tmp_path, rng):
    path = tmp_path / "small.gctx"
    matrix = rng.normal(size=(7, 5)).astype(np.float32)
    profiles = pd.DataFrame({"cell": ["A", "B", None, "µ", "", "x", "y"], "dose": [1.0, np.nan, 3, 4, 5, 6, 7]})
    write_gctx(path, matrix, [f"p{i}" for i in range(7)], [f"{i}" for i in range(5)], profiles)
    return path, matrix


def read(path, genes, profiles=None):
    with GctxFile(path) as file:
        blocks = list(file.blocks(genes, profiles))
    return np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])


def test_written_file_is_what_cmappy_reads(small):
    path, matrix = small
    found = parse(str(path))
    assert np.array_equal(found.data_df.to_numpy().T, matrix)
    assert list(found.data_df.columns) == [f"p{i}" for i in range(7)]
    assert list(found.data_df.index) == [str(i) for i in range(5)]
    assert found.col_metadata_df["cell"].tolist()[:2] == ["A", "B"]


def test_ids_become_ascii_and_stay_unique(tmp_path, caplog):
    path = tmp_path / "x.gctx"
    write_gctx(path, np.zeros((2, 1)), ["a:10 µM", "b"], ["gène"])
    found = parse(str(path)).data_df
    assert found.columns.tolist() == ["a:10 uM", "b"] and found.index.tolist() == ["g\\xe8ne"]
    assert "1 profile ids are not ASCII, which GCTX has to be: 'a:10 µM' is written as 'a:10 uM'" in caplog.text
    with pytest.raises(InputError, match=r"x.gctx: id: of 1 profile ids that are not ASCII some become the same"):
        write_gctx(path, np.zeros((2, 1)), ["1 µM", "1 uM"], ["g"])


def test_what_differs_in_metadata_differs_in_ascii(tmp_path):
    write_gctx(tmp_path / "x.gctx", np.zeros((2, 1)), "ab", "g", pd.DataFrame({"pert": ["TNFβ", "TNFδ"]}))
    assert parse(str(tmp_path / "x.gctx")).col_metadata_df["pert"].tolist() == ["TNF\\u03b2", "TNF\\u03b4"]


def test_missing_metadata_is_written_as_cmap_does(small):
    with GctxFile(small[0]) as file:
        metadata = file.metadata("profile")
    assert metadata["cell"].tolist() == ["A", "B", "-666", "u", "-666", "x", "y"]
    assert metadata["dose"].tolist() == [1, -666, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("layout", [{}, {"chunks": (2, 3)}, {"chunks": (2, 3), "compression": "gzip"}])
@pytest.mark.parametrize("genes", [[0, 1], [4, 0, 2], [3]])
@pytest.mark.parametrize("profiles", [None, [6, 1, 2], [5]])
@pytest.mark.parametrize("tile_bytes", [1, 2**20])  # by chunk and by whole profiles
def test_blocks_equal_fancy_indexing(tmp_path, rng, monkeypatch, layout, genes, profiles, tile_bytes):
    path, matrix = tmp_path / "x.gctx", rng.normal(size=(7, 5)).astype(np.float32)
    write_gctx(path, matrix, range(7), range(5))
    with h5py.File(path, "a") as file:
        del file["0/DATA/0/matrix"]
        file.create_dataset("0/DATA/0/matrix", data=matrix, **layout)
    monkeypatch.setattr("dvgs.io.matrix.MATRIX_BLOCK_BYTES", 40)  # blocks of two profiles
    monkeypatch.setattr("dvgs.io.gctx.TILE_BYTES", tile_bytes)
    positions, values = read(path, genes, profiles)
    expected = np.arange(7) if profiles is None else np.sort(profiles)
    assert np.array_equal(positions, expected)
    assert np.array_equal(values, matrix[np.ix_(expected, genes)])


def test_chunks_that_were_never_written(tmp_path, rng, monkeypatch):
    path, matrix = tmp_path / "x.gctx", np.full((7, 5), 3, np.float32)
    write_gctx(path, matrix, range(7), range(5))
    matrix[2:4, :3] = rng.normal(size=(2, 3))
    with h5py.File(path, "a") as file:
        del file["0/DATA/0/matrix"]
        stored = file.create_dataset("0/DATA/0/matrix", (7, 5), np.float32, chunks=(2, 3), fillvalue=3)
        stored[2:4, :3] = matrix[2:4, :3]
    monkeypatch.setattr("dvgs.io.gctx.TILE_BYTES", 1)
    assert np.array_equal(read(path, range(5))[1], matrix)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("modzs_n25x50.gctx", (25, 50)),
        ("level4_replicates_n6x978.gctx", (6, 978)),
        ("level3_int32_noversion_n131x12328.gctx", (131, 12328)),
        ("level5_float64_full_metadata_n5x10.gctx", (5, 10)),
        ("level4_probe_ids_with_metadata_n377x978.gctx", (377, 978)),
        ("test_sample_n2x12328.gctx", (2, 12328)),
    ],
)
def test_files_of_other_programs(real_data, name, shape):
    with GctxFile(real_data / "l1000/formats" / name) as file:
        assert file.shape == shape
        assert all(isinstance(i, str) for i in [*file.profile_ids, *file.gene_ids])
        genes = np.array([shape[1] - 1, 0])
        positions, values = next(file.blocks(genes))
        with h5py.File(file.path) as raw:
            expected = raw["0/DATA/0/matrix"][:][positions][:, genes]
    assert np.array_equal(values, expected.astype(np.float32))


def test_integer_ids_become_text(tmp_path):
    path = tmp_path / "x.gctx"
    write_gctx(path, np.zeros((2, 2)), ["a", "b"], ["1", "2"])
    with h5py.File(path, "a") as file:
        del file["0/META/ROW/id"]
        file["0/META/ROW/id"] = np.array([10, 780])
    with GctxFile(path) as file:
        assert file.gene_ids.tolist() == ["10", "780"]


def break_text(path):
    path.write_text("#1.3\n")


def break_matrix(path):
    with h5py.File(path, "a") as file:
        del file["0/DATA/0/matrix"]


def break_transposed(path):
    with h5py.File(path, "a") as file:
        matrix = file["0/DATA/0/matrix"][:]
        del file["0/DATA/0/matrix"]
        file["0/DATA/0/matrix"] = matrix.T


def break_ids(path):
    with h5py.File(path, "a") as file:
        file["0/META/COL/id"][1] = file["0/META/COL/id"][0]


def break_truncated(path):
    path.write_bytes(path.read_bytes()[:900])


def break_half(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (break_text, "not an HDF5 file"),
        (break_matrix, "it has no /0/DATA/0/matrix"),
        (break_transposed, "the matrix is transposed"),
        (break_ids, "1 profile ids occur twice, the first is 'p0'"),
        (break_truncated, "bytes are missing"),
        (break_half, "it is damaged ("),
    ],
)
def test_unusable_files_get_one_line(small, spoil, message):
    spoil(small[0])
    with pytest.raises(InputError) as caught:
        GctxFile(small[0], "input.level5")
    line = str(caught.value)
    assert message in line and str(small[0]) in line and "input.level5" in line and "\n" not in line


def test_a_damaged_chunk_gets_one_line(tmp_path, rng):
    path = tmp_path / "x.gctx"
    write_gctx(path, rng.normal(size=(8, 5)), range(8), range(5))
    with h5py.File(path, "a") as file:
        matrix = file["0/DATA/0/matrix"][:]
        del file["0/DATA/0/matrix"]
        made = file.create_dataset("0/DATA/0/matrix", data=matrix, chunks=(4, 5), compression="gzip")
        place, size = (made.id.get_chunk_info(1).byte_offset, made.id.get_chunk_info(1).size)
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(bytes(size))
    with pytest.raises(InputError, match=r"x.gctx: matrix: it is damaged \(.*\); fetch or copy the file again"):
        read(path, [0, 1])


def test_metadata_of_another_length_or_none_get_one_line(small):
    with h5py.File(small[0], "a") as file:
        file["0/META/COL/note"] = np.arange(3)
    with GctxFile(small[0]) as file, pytest.raises(InputError, match="/0/META/COL/note is no list of 7; give a value"):
        file.metadata("profile")
    with h5py.File(small[0], "a") as file:
        del file["0/META/COL/note"]
        file["0/META/COL/note/inside"] = np.arange(7)
    with GctxFile(small[0]) as file, pytest.raises(InputError, match="/0/META/COL/note is no list of 7"):
        file.metadata("profile")


def test_failed_write_leaves_the_old_file(small):
    path, matrix = small
    before = path.read_bytes()
    with pytest.raises(ValueError, match="do not fit"):
        write_gctx(path, matrix, range(7), range(6))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
