"""The user's command on a cluster with accounting."""

import pytest

from .conftest import RESULTS, ask, change_profile, checkout, run, slurm, submitted

pytestmark = pytest.mark.slow
VALUES = str(RESULTS / "values.parquet")


@pytest.fixture(scope="module", params=["squeue", "sacct"])
def finished(request, tmp_path_factory):
    """The folder of a run up to the values, under an account."""
    with slurm(tmp_path_factory.mktemp("slurm"), "accounting"):
        settings = {"slurm-status-command": request.param}
        folder = checkout(tmp_path_factory.mktemp("cluster"), {"slurm_account": "lab"}, **settings)
        status, out = run(folder, VALUES)
        assert status == 0, out
        assert submitted(out).count("score_shard") == 2
        yield folder


def test_sacct_shows_shards_on_two_nodes_at_once(finished):
    lines = ask("sacct", "-X", "-n", "-P", "-o", "Comment,Account,NodeList,Start,End,State").splitlines()
    shards = [line.split("|") for line in lines if line.startswith("rule_score_shard")]
    print("$ sacct -X", *lines, sep="\n")
    assert {shard[1] for shard in shards} == {"lab"} and {shard[5] for shard in shards} == {"COMPLETED"}
    assert {shard[2] for shard in shards} == {"n1", "n2"}
    assert max(shard[3] for shard in shards) < min(shard[4] for shard in shards)


def test_refused_account_is_told_with_the_setting_to_change(finished):
    change_profile(finished, {"slurm_account": "nope"})
    status, out = run(finished, "--forcerun", "gather_values", "score_shard", "--", VALUES)
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    message = "slurm/config.yaml: slurm_account: SLURM refuses this account;"
    assert status == 1 and len(errors) == 1 and message in errors[0], out
