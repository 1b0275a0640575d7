"""What is selected, without a run of ingestion; what becomes of it is in test_ingestion."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.selection import gene_positions, select_genes, select_profiles
from dvgs.errors import InputError

MATRIX = SimpleNamespace(path="m.gctx", gene_ids=np.array(["200", "5", "3000", "10"], dtype=object))
GENES = pd.DataFrame({"feature_space": ["landmark", "inferred", "landmark"]}, index=["5", "10", "200"])


@pytest.mark.parametrize("pert_types", [None, ["trt_cp"], ["trt_cp", "ctl"], []])
@pytest.mark.parametrize("qc_pass", [False, True])
def test_every_id_is_selected_or_has_the_first_reason_that_holds(rng, pert_types, qc_pass):
    """Against a loop over the ids, on random tables."""
    ids = [f"p{k}" for k in range(60)]
    table = pd.DataFrame({"pert_type": rng.choice(["trt_cp", "ctl", "trt_sh"], 40), "qc_pass": rng.choice([0, 1], 40)})
    table.index = rng.choice(ids, 40, replace=False)
    there = rng.choice(ids, 40, replace=False)
    selected, ledger = select_profiles(table, there, pert_types, qc_pass)
    reasons = dict(zip(ledger["profile_id"], ledger["reason"], strict=True))
    for name in sorted({*table.index, *there}):
        if name not in table.index:
            expected = "not in the table of profiles"
        elif pert_types is not None and table.loc[name, "pert_type"] not in pert_types:
            expected = "pert_type not selected"
        elif qc_pass and table.loc[name, "qc_pass"] != 1:
            expected = "qc_pass is not 1"
        else:
            expected = None if name in there else "not in the matrix"
        assert reasons.get(name) == expected and (name in selected) == (expected is None)
    assert selected.is_monotonic_increasing and len(selected) + len(ledger) == len({*table.index, *there})


def test_genes_are_sorted_by_number_whatever_the_file_has(tmp_path):
    (tmp_path / "list.txt").write_text("3000\n5\n\n5\n")
    assert MATRIX.gene_ids[select_genes(MATRIX, GENES, "all")].tolist() == ["5", "10", "200", "3000"]
    assert MATRIX.gene_ids[select_genes(MATRIX, GENES, "landmark")].tolist() == ["5", "200"]
    assert MATRIX.gene_ids[select_genes(MATRIX, GENES, str(tmp_path / "list.txt"))].tolist() == ["5", "3000"]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"5\n77\n", "1 genes are not in m.gctx, the first is '77'"),
        (b"\n", "no gene in it"),
        (b"\xff\xfe5", "cannot be read"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        select_genes(MATRIX, GENES, str(tmp_path / "list.txt"))


def test_positions_are_in_the_order_asked_for():
    assert gene_positions(MATRIX, pd.Index(["10", "200"])).tolist() == [3, 0]
    with pytest.raises(InputError, match="the first is '8'"):
        gene_positions(MATRIX, pd.Index(["10", "8"]))
