import numpy as np
import pytest

from dvgs.errors import InputError
from dvgs.io.formats import open_matrix

TEXT = """#1.3
3\t2\t1\t2
id\tsymbol\tp1\tp2
cell\tna\tA375\tMCF7
dose\tna\t10\t0.1
g1\tAA\t1.5\t-2
g2\tBB\t0\t3e2
g3\tCC\t-0.25\t4
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x.gct").write_text(TEXT)
    return tmp_path / "x.gct"


def test_profiles_are_rows_and_genes_columns(path):
    with open_matrix(path, "input.profiles") as matrix:
        assert matrix.profile_ids.tolist() == ["p1", "p2"] and matrix.gene_ids.tolist() == ["g1", "g2", "g3"]
        ((rows, values),) = matrix.blocks(np.array([2, 0]))
        assert rows.tolist() == [0, 1] and values.tolist() == [[-0.25, 1.5], [4, -2]] and values.dtype == np.float32
        ((rows, values),) = matrix.blocks(np.array([1]), np.array([1]))
        assert rows.tolist() == [1] and values.tolist() == [[300]]
        assert matrix.metadata("profile")["cell"].tolist() == ["A375", "MCF7"]
        assert matrix.metadata("gene")["symbol"].tolist() == ["AA", "BB", "CC"]


@pytest.mark.parametrize("text", ["", "a table\nof something else\n", TEXT[:40]])
def test_what_is_no_gct_is_one_line(path, text):
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.gct: input\.profiles: cmapPy cannot read it") as error:
        open_matrix(path, "input.profiles")
    assert "\n" not in str(error.value)


def test_ids_that_occur_twice_are_refused(path):
    path.write_text(TEXT.replace("g2\tBB", "g1\tBB"))
    with pytest.raises(InputError, match="g1"):
        open_matrix(path, "input.profiles")
