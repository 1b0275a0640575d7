import gzip
import lzma

import numpy as np
import pandas as pd
import pytest

from dvgs.errors import InputError
from dvgs.io.tables import explode_replicates, read_geneinfo, read_instinfo, read_siginfo, read_table


def test_missing_values_and_numbers(tmp_path):
    path = tmp_path / "siginfo.txt"
    path.write_text("sig_id\tpert_dose\tcmap_name\tdistil_ids\ns1\t10.0\tNA\ta|b\ns2\t-666\t-666\t\n")
    table = read_siginfo(path)
    assert table["pert_dose"].tolist()[0] == 10 and np.isnan(table["pert_dose"].iloc[1])
    assert table["cmap_name"].isna().all() and pd.isna(table["distil_ids"].iloc[1])


def test_passing_is_a_number_whoever_wrote_the_table(tmp_path):
    path = tmp_path / "siginfo.txt"
    path.write_text("sig_id\tqc_pass\n" + "".join(f"{text}\t{text}\n" for text in ("TRUE", "FALSE", "True", "1", "0")))
    assert read_siginfo(path)["qc_pass"].tolist() == [1, 0, 1, 1, 0]


def test_text_among_numbers_is_kept_and_told(tmp_path, caplog):
    path = tmp_path / "siginfo.txt"
    path.write_text("sig_id\tpert_time\tqc_pass\tfile_pert_time\ta\ns1\t24 h\tmaybe\tx\t1\ns2\t6\tTRUE\ty\t2\n")
    table = read_siginfo(path)
    assert np.array_equal(table["pert_time"], [np.nan, 6], equal_nan=True) and table["qc_pass"].iloc[1] == 1
    assert table["file_pert_time_2"].tolist() == ["24 h", "6"] and table["file_pert_time"].tolist() == ["x", "y"]
    assert table["file_qc_pass"].tolist() == ["maybe", "TRUE"]
    told = (
        "1 of pert_time are no numbers and count as missing, the first is '24 h'; file_pert_time_2 has them as they are"
    )
    assert told in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_gzip_and_encodings(tmp_path, encoding):
    path = tmp_path / "siginfo.txt.gz"
    path.write_bytes(gzip.compress("sig_id\tpert_idose\ns1\t10 µM\n".encode(encoding)))
    assert read_siginfo(path)["pert_idose"].tolist() == ["10 µM"]


def test_doses_get_one_unit_and_one_spelling(tmp_path):
    path = tmp_path / "siginfo.txt"
    rows = [("a", "10", "um"), ("b", "500", "nM"), ("c", "2", "µM"), ("d", "5", "ng/mL"), ("e", "-666", "-666")]
    path.write_text("sig_id\tpert_dose\tpert_dose_unit\n" + "".join("\t".join(row) + "\n" for row in rows))
    table = read_siginfo(path)
    assert table["pert_dose_unit"].tolist()[:4] == ["uM", "uM", "uM", "ng/ml"]
    assert np.allclose(table["pert_dose"], [10, 0.5, 2, 5, np.nan], equal_nan=True)
    assert pd.isna(table["pert_dose_unit"].iloc[4])
    path.write_text("sig_id\tpert_idose\na\t500 nM\nb\t-666\n")
    table = read_siginfo(path)
    assert table["pert_dose"].tolist()[0] == 0.5 and table["pert_dose_unit"].tolist()[0] == "uM"


def test_tables_of_geo_get_the_names_of_lincs_2020(tmp_path):
    path = tmp_path / "GSE92742_Broad_LINCS_sig_info.txt.gz"
    header = "sig_id\tpert_id\tpert_iname\tpert_type\tcell_id\tpert_dose\tpert_dose_unit\tdistil_id\n"
    path.write_bytes(gzip.compress((header + "s\tp\tname\ttrt_cp\tA375\t10\tµM\ta|b\n").encode()))
    table = read_siginfo(path)
    assert table.loc["s", ["cell_iname", "cmap_name", "distil_ids"]].tolist() == ["A375", "name", "a|b"]
    path.write_bytes(gzip.compress(b"inst_id\tcell_id\trna_plate\np:A01\tA375\tp\n"))
    assert read_instinfo(path).loc["p:A01", ["cell_iname", "det_plate"]].tolist() == ["A375", "p"]
    path.write_bytes(gzip.compress(b"pr_gene_id\tpr_gene_symbol\tpr_is_lm\n780\tDDR1\t1\n7\tX\t0\n"))
    genes = read_geneinfo(path)
    assert genes["feature_space"].to_dict() == {"780": "landmark", "7": "inferred"}
    assert genes["gene_symbol"].tolist() == ["DDR1", "X"]


def test_quotes_are_text(tmp_path):
    path = tmp_path / "geneinfo.txt"
    path.write_text('gene_id\tgene_title\tfeature_space\n1\t5" gene\tlandmark\n2\tother\tinferred\n')
    assert read_geneinfo(path)["gene_title"].tolist() == ['5" gene', "other"]


def test_replicates_keep_order_and_count_once():
    pairs = explode_replicates(pd.Series({"s2": "b|a|b", "s1": np.nan, "s3": "", "s4": "a"}))
    assert pairs.to_numpy().tolist() == [["s2", "b", False], ["s2", "a", False], ["s4", "a", False]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tx\n1\t2\n", "no column 'sig_id'"),
        ("", "not a tab-separated table"),
        ("sig_id\tx\na\t1\na\t2\n", "sig_id 'a' occurs twice"),
        ("sig_id\tx\n\t1\n", "line 2 has no sig_id"),
        ("sig_id\tx\ty\na\t1\t2\nb\t1", "it ends within a line; fetch or copy"),
        ("sig_id\tx\na\t1\t\nb\t2\t\n", "its rows have more fields than the header; take out tabs"),
    ],
)
def test_unusable_tables_get_one_line(tmp_path, text, message):
    path = tmp_path / "siginfo.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_siginfo(path)


def test_a_damaged_gzip_gets_one_line(tmp_path):
    path = tmp_path / "siginfo.txt.gz"
    whole = gzip.compress("".join(f"s{i}\t{i * i % 977}\n" for i in range(5000)).encode())
    path.write_bytes(whole[:5000] + b"\xff" * 20 + whole[5020:])
    with pytest.raises(InputError, match=r"siginfo.txt.gz: siginfo: not a tab-separated table \(.*; check the file"):
        read_siginfo(path)


def test_a_last_line_without_its_end_is_whole(tmp_path):
    path = tmp_path / "siginfo.txt"
    path.write_text("sig_id\tx\na\t1\nb\t")
    assert read_siginfo(path).index.tolist() == ["a", "b"]


def test_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.txt: siginfo: no such file"):
        read_table(tmp_path / "nowhere.txt", "siginfo", [])


def test_real_tables(real_data):
    folder = real_data / "l1000"
    assert len(read_siginfo(folder / "release/siginfo_beta.txt")) == 430
    assert set(read_siginfo(folder / "release/siginfo_beta.txt")["pert_dose_unit"].dropna()) == {"uM"}
    assert len(read_instinfo(folder / "release/instinfo_beta.txt")) == 801
    assert len(read_siginfo(folder / "metadata/siginfo_beta_rows_n1523.txt")) == 1523
    cmapr = read_siginfo(folder / "level5_cmapr/cmapR_level5_modzs_siginfo.txt")
    assert cmapr["pert_dose"].notna().all() and set(cmapr["pert_dose_unit"]) == {"uM"}
    genes = read_geneinfo(folder / "release/geneinfo_beta.txt.gz")
    assert (genes["feature_space"] == "landmark").sum() == 978


def test_optional_columns_are_there(tmp_path):
    path = tmp_path / "siginfo.txt"
    path.write_text("sig_id\ns1\n")
    assert read_siginfo(path)[["cell_iname", "distil_ids", "pert_id"]].isna().all(axis=None)


def test_a_compressed_table_is_not_taken_for_one_that_is_cut_off(tmp_path):
    path = tmp_path / "siginfo.txt.xz"
    path.write_bytes(lzma.compress(b"sig_id\tx\ty\na\t1\t2\n"))
    assert read_siginfo(path)["y"].tolist() == ["2"]
