import pandas as pd
import pytest

from dvgs.columns import VALUE_COLUMNS
from dvgs.valuation.values import convergence, gather


def test_gather_wants_every_profile_once():
    names = [*VALUE_COLUMNS, "n_steps", "cosine_even", "cosine_odd", "cosine_eighth", "cosine_quarter", "cosine_half"]
    shard = pd.DataFrame({"profile_id": ["a", "b"]} | {c: [1.0, 2.0] for c in names})
    shard["role"] = ["source", "test"]
    again = shard[:1].assign(role="calibration", cosine=5.0)  # the same profile along the second trajectory
    values, calibration, _ = gather([shard, again], pd.Series(["b", "a"]))
    assert values["cosine"].tolist() == [2, 1] and calibration["cosine"].tolist() == [5]
    assert list(values) == ["profile_id", *VALUE_COLUMNS, "role"]
    for shards, ids in (([shard, shard], ["a", "b"]), ([shard], ["a", "b", "c"]), ([shard], ["a"])):
        with pytest.raises(ValueError, match="exactly once"):
            gather(shards, pd.Series(ids))


def test_convergence_is_rank_correlation():
    table = pd.DataFrame({"cosine": [1.0, 2, 3, 4], "n_steps": 40})
    for name in ("cosine_eighth", "cosine_quarter", "cosine_half", "cosine_even"):
        table[name] = [10.0, 20, 30, 40]
    table["cosine_quarter"], table["cosine_odd"] = [4.0, 3, 2, 1], [1.0, 3, 2, 4]
    found = convergence(table)
    assert found["steps"].tolist() == ["eighth", "quarter", "half", "alternate"]
    assert found["spearman"].tolist() == pytest.approx([1, -1, 1, 0.8])
    assert set(found["n_steps"]) == {40}
