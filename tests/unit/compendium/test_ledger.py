from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.ledger import (
    NOT_IN_TABLE,
    QC_FAILED,
    check_cleaned,
    check_ingested,
    ledger_of,
    read_ledger,
    read_n_input,
)
from dvgs.io.files import write_csv
from dvgs.io.h5ad import write_h5ad


def test_a_ledger_has_a_reason_for_each_or_one_for_all():
    assert ledger_of(["a", "b"], NOT_IN_TABLE).to_numpy().tolist() == [["a", NOT_IN_TABLE], ["b", NOT_IN_TABLE]]
    each = ledger_of(pd.Index(["a", "b"]), np.array([NOT_IN_TABLE, QC_FAILED]))
    assert each.to_numpy().tolist() == [["a", NOT_IN_TABLE], ["b", QC_FAILED]]
    nobody = ledger_of([], NOT_IN_TABLE)
    assert nobody.empty and list(nobody) == ["profile_id", "reason"]


@pytest.mark.parametrize(
    ("selected", "left_out", "n_input", "whole"),
    [
        (["a", "b"], ["c"], 3, True),
        ([], ["c"], 1, True),
        (["a", "b"], ["c"], 4, False),
        (["a", "b"], ["b"], 3, False),  # the number is right, but one is in both
        (["a", "b"], ["c", "c"], 4, False),
        (["a", "b"], ["c", "d"], 3, False),
    ],
)
def test_every_profile_is_used_or_left_out_once(selected, left_out, n_input, whole):
    account = pd.Index(selected, dtype=object), ledger_of(left_out, NOT_IN_TABLE), n_input
    if whole:
        check_ingested(*account)
    else:
        with pytest.raises(AssertionError, match=f"{n_input} profiles in, {len(selected)} used and {len(left_out)} in"):
            check_ingested(*account)


def test_ids_stay_text_and_missing_words_stay_ids(tmp_path):
    write_csv(tmp_path / "ledger.tsv", ledger_of(["NA", "null", "007", ""], QC_FAILED), sep="\t")
    assert read_ledger(tmp_path / "ledger.tsv")["profile_id"].tolist() == ["NA", "null", "007", ""]


@pytest.fixture
def cleaned(tmp_path):
    """Two targets: profiles a and b are cleaned and c is dropped by one, the other drops none; x was left out."""
    for target, kept, dropped in (("one", "ab", "c"), ("other", "abc", "")):
        obs, var = (pd.DataFrame(index=list(ids)) for ids in (kept, "g"))
        write_h5ad(tmp_path / f"{target}.h5ad", np.zeros((len(kept), 1)), obs, var, uns={"n_input": 4})
        write_csv(tmp_path / f"{target}.tsv", pd.DataFrame({"profile_id": list(dropped)}), sep="\t")
    return SimpleNamespace(
        cleaned=[tmp_path / "one.h5ad", tmp_path / "other.h5ad"], dropped=[tmp_path / "one.tsv", tmp_path / "other.tsv"]
    )


def test_the_files_hold_every_profile_once(cleaned):
    assert read_n_input(cleaned.cleaned[0]) == 4
    check_cleaned(cleaned, 4, ledger_of(["x"], QC_FAILED), ["one", "other"])


@pytest.mark.parametrize(
    ("left_out", "n_input", "message"),
    [
        (["x"], 5, "one: of 5 profiles 1 left out, 1 dropped, 2 cleaned"),
        (["x", "y"], 4, "one: of 4 profiles 2 left out, 1 dropped, 2 cleaned"),
        (["a"], 4, "one: of 4 profiles 1 left out, 1 dropped, 2 cleaned"),
    ],
)
def test_a_profile_that_is_lost_or_twice_in_the_files_is_told(cleaned, left_out, n_input, message):
    with pytest.raises(AssertionError, match=message):
        check_cleaned(cleaned, n_input, ledger_of(left_out, QC_FAILED), ["one", "other"])


def test_each_target_is_counted(cleaned):
    cleaned.dropped[1] = cleaned.dropped[0]
    with pytest.raises(AssertionError, match="other: of 4 profiles 1 left out, 1 dropped, 3 cleaned"):
        check_cleaned(cleaned, 4, ledger_of(["x"], QC_FAILED), ["one", "other"])
