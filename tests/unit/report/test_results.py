from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.ledger import check_accounts, read_ledger
from dvgs.io.files import write_csv
from dvgs.io.h5ad import write_h5ad


def test_ids_may_look_like_missing_values_or_break_a_line(tmp_path):
    write_h5ad(tmp_path / "cleaned.h5ad", np.ones((1, 1)), pd.DataFrame(index=["a"]), pd.DataFrame(index=["g"]))
    dropped = pd.DataFrame({"profile_id": ["NA", "null", "None", "b\rc", "d\ne", "f\tg"], "value": 0.5})
    write_csv(tmp_path / "dropped.tsv", dropped, sep="\t")
    write_csv(tmp_path / "ledger.tsv", pd.DataFrame({"profile_id": ["nan"], "reason": ["any"]}), sep="\t")
    found = SimpleNamespace(cleaned=[tmp_path / "cleaned.h5ad"], dropped=[tmp_path / "dropped.tsv"])
    ledger = read_ledger(tmp_path / "ledger.tsv")
    check_accounts(found, 8, ledger, ["general"])
    with pytest.raises(AssertionError, match="general: of 9 profiles 1 left out, 6 dropped, 1 cleaned"):
        check_accounts(found, 9, ledger, ["general"])
    assert read_ledger(tmp_path / "dropped.tsv")["profile_id"].tolist()[3:] == ["b c", "d\ne", "f\tg"]
