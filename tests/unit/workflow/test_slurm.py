import re
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT

from dvgs.errors import InputError
from dvgs.workflow import slurm
from dvgs.workflow.slurm import hopeless, keep_asking, remedies, watch_queue


@pytest.mark.parametrize(
    "said, setting",
    [
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", "slurm_partition"),
        ("The given account nope appears to be invalid. Available accounts:\nlab", "slurm_account"),
        ("Invalid account or account/partition combination specified", "slurm_account"),
        ("Batch job submission failed: Requested node configuration is not available", "set-resources"),
        ("Batch job submission failed: Requested time limit is invalid", "set-resources"),
        ("Batch job submission failed: Invalid qos specification", "slurm-qos"),
        ("SLURM would let job 7 (rule_ingest) wait for ever (PartitionTimeLimit), so it is cancelled", "set-resources"),
        ("wait for ever (QOSMaxWallDurationPerJobLimit)", "set-resources"),
        ("wait for ever (AssocMaxCpuPerJobLimit)", "set-resources"),
        ("wait for ever (AccountNotAllowed)", "slurm_account"),
    ],
)
def test_refusal_names_the_setting(said, setting):
    (remedy,) = remedies(f"Error in rule ingest:\n    message: SLURM sbatch failed. {said}\n{said} again")
    assert isinstance(remedy, InputError) and remedy.field == setting


@pytest.mark.parametrize(
    "reason", ["Resources", "Priority", "BeginTime", "ReqNodeNotAvail", "QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit"]
)
def test_what_may_end_by_waiting_is_no_refusal(reason):
    assert remedies(f"7|{reason}|/folder|rule_ingest") == []


def test_only_jobs_of_snakemake_in_this_folder_are_cancelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        f"7|PartitionTimeLimit|{tmp_path}|rule_ingest",
        f"8|Priority|{tmp_path}|rule_ingest",
        f"9|PartitionTimeLimit|{tmp_path}|(null)",
        f"10|PartitionTimeLimit|{tmp_path / 'elsewhere'}|rule_ingest",
        "slurm_load_jobs error: Unable to contact slurm controller",
    ]
    assert list(hopeless("\n".join(lines))) == [("7", "PartitionTimeLimit", "rule_ingest")]


def test_job_that_printed_nothing(tmp_path):
    log = "log: logs/a/ingest.log, {}/7.log (check log file(s) for error details)\n"
    (tmp_path / "7.log").touch()
    assert remedies(log.format(tmp_path)) == []
    (remedy,) = remedies(log.format(tmp_path) + log.format(tmp_path / "elsewhere"))
    assert "file system that all nodes share" in str(remedy)


def test_executor_waits_for_an_answer():
    answers = iter([None, None, 300])
    executor = SimpleNamespace(get_min_job_age=lambda: next(answers))
    keep_asking(executor, seconds=0)
    assert executor.get_min_job_age() == 300


def test_profile_gives_gpus_to_all_rules_that_use_one():
    rules = [
        part for path in (ROOT / "workflow/rules").glob("*.smk") for part in re.split(r"\brule ", path.read_text())
    ]
    using = {part.split(":")[0] for part in rules if "device=" in part}
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    assert {"score_shard", "value_study"} < using == set(profile["set-resources"])
    assert all(resources == {"gpu": 0} for resources in profile["set-resources"].values())


def test_a_machine_without_squeue_is_not_watched(monkeypatch, capsys):
    """The thread ends, without a traceback."""
    threads = []
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(
        slurm.threading, "Thread", lambda target, daemon: threads.append(target) or SimpleNamespace(start=target)
    )
    watch_queue(print)
    assert len(threads) == 1 and capsys.readouterr() == ("", "")
