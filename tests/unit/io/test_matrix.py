import numpy as np
import pandas as pd
import pytest

from dvgs.errors import InputError
from dvgs.io.formats import open_matrix
from dvgs.io.gctx import write_gctx
from dvgs.io.matrix import Matrix, MatrixFile, as_text, pick


class InMemory(MatrixFile):
    """A whole format: the numbers 0, 1, 2, ... of ten profiles and four genes."""

    profiles = tuple(f"p{i}" for i in range(10))
    closed = False

    def _open(self):
        self.values = np.arange(40).reshape(10, 4)

    def _read_ids(self):
        return as_text(np.array(self.profiles)), as_text(np.arange(4))

    def metadata(self, axis):
        return pd.DataFrame(index=self.gene_ids if axis == "gene" else self.profile_ids)

    def _read(self, rows, genes):
        return self.values[np.ix_(rows, genes)]

    def close(self):
        self.closed = True


WHOLE = {name: vars(InMemory)[name] for name in ("_open", "_read_ids", "metadata", "_read", "close")}


@pytest.mark.parametrize("lacking", [None, *WHOLE])
def test_a_format_that_lacks_something_cannot_be_opened(tmp_path, lacking):
    kind = type("Format", (MatrixFile,), {name: what for name, what in (vars(InMemory) | WHOLE).items()
                                          if name in WHOLE and name != lacking})  # fmt: skip
    if lacking is None:
        assert kind.__abstractmethods__ == frozenset()
    else:
        with pytest.raises(TypeError, match=f"abstract.*{lacking}"):
            kind(tmp_path)


def test_what_a_format_must_give():
    assert Matrix.__abstractmethods__ == {"_open", "_read_ids", "metadata", "blocks", "close"}
    assert MatrixFile.__abstractmethods__ == set(WHOLE)


@pytest.mark.parametrize("multiple", [1, 2, 5])
@pytest.mark.parametrize("profiles", [None, [], [9, 2, 3], [4]])
def test_blocks_are_what_was_asked_for(tmp_path, monkeypatch, multiple, profiles):
    monkeypatch.setattr("dvgs.io.matrix.MATRIX_BLOCK_BYTES", 3 * 4 * 4)  # three profiles
    monkeypatch.setattr(InMemory, "multiple", multiple)
    with InMemory(tmp_path) as matrix:
        blocks = list(matrix.blocks([3, 0], profiles))
    expected = np.arange(10) if profiles is None else np.sort(profiles)
    assert [p for positions, _ in blocks for p in positions] == expected.tolist()
    for positions, values in blocks:
        assert values.dtype == np.float32 and np.array_equal(values, matrix.values[np.ix_(positions, [3, 0])])
    step = max(1, 3 // multiple) * multiple
    assert all(len({p // step for p in positions}) == 1 for positions, _ in blocks)
    assert matrix.closed


def test_a_file_that_is_refused_is_closed(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(InMemory, "profiles", ("a", "b", "a", "b", "a"))
    monkeypatch.setattr(InMemory, "close", lambda self: closed.append(self.path))
    with pytest.raises(InputError, match=r"input.level5: 3 profile ids occur twice, the first is 'a'; make"):
        InMemory(tmp_path, "input.level5")
    assert closed == [tmp_path]


@pytest.mark.parametrize("error", [OSError("x"), KeyError("x"), RuntimeError("x")])
def test_what_goes_wrong_in_the_thread_that_reads_is_damage(tmp_path, monkeypatch, error):
    def fail(self, rows, genes):
        raise error

    monkeypatch.setattr(InMemory, "_read", fail)
    with InMemory(tmp_path) as matrix, pytest.raises(InputError, match=r"it is damaged \('?x'?\); fetch or copy"):
        next(matrix.blocks([0]))


def test_a_folder_is_one_matrix_over_the_genes_that_all_files_have(tmp_path, rng):
    x = rng.normal(size=(5, 4)).astype(np.float32)
    write_gctx(tmp_path / "a.gctx", x[:2], ["p0", "p1"], list("wxyz"), genes=pd.DataFrame({"n": range(4)}))
    write_gctx(tmp_path / "b.GCTX", x[2:, [3, 1, 0]], ["p2", "p3", "p4"], list("zxw"))
    (tmp_path / "notes.txt").write_text("no matrix")
    with open_matrix(tmp_path, "input.level4") as matrix:
        assert matrix.shape == (5, 3) and matrix.gene_ids.tolist() == list("wxz")
        blocks = list(matrix.blocks([2, 0], [4, 1, 2]))
        assert matrix.metadata("gene")["n"].tolist() == [0, 1, 3]
        assert matrix.metadata("profile").index.tolist() == [f"p{i}" for i in range(5)]
    assert np.concatenate([p for p, _ in blocks]).tolist() == [1, 2, 4]
    assert np.array_equal(np.concatenate([v for _, v in blocks]), x[np.ix_([1, 2, 4], [3, 0])])
    write_gctx(tmp_path / "c.gctx", x[:1], ["p0"], list("wxyz"))
    with pytest.raises(InputError, match=r"input.level4: 1 profile ids occur twice, the first is 'p0'"):
        open_matrix(tmp_path, "input.level4")


@pytest.mark.parametrize("genes", [[], [2], [1, 2, 3], [3, 1], [0, 1, 3]])
@pytest.mark.parametrize("rows", [[0, 1, 2], [1], [0, 2]])
def test_picked_rows_and_genes(rng, rows, genes):
    block, rows, genes = rng.normal(size=(3, 5)), np.array(rows), np.array(genes, int)
    assert np.array_equal(pick(block, rows, genes), block[np.ix_(rows, genes)])


def test_ids_become_text():
    assert as_text(np.array([1, 20])).tolist() == ["1", "20"]
    assert as_text(np.array(["µ".encode(), "µ".encode("latin-1"), b"a"])).tolist() == ["µ", "µ", "a"]
    assert as_text(np.array([b"a", "b", 3], object)).tolist() == ["a", "b", "3"]
