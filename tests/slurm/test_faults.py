"""The user's command on a cluster where things go wrong."""

import filecmp
import os
import re
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from .conftest import (
    ENVIRONMENT,
    LOGS,
    RESULTS,
    ask,
    change_profile,
    checkout,
    end,
    hold,
    place,
    run,
    running,
    start,
    submitted,
    wait_for,
)

pytestmark = pytest.mark.slow
VALUES = str(RESULTS / "values.parquet")


@pytest.fixture(scope="module")
def valued(cluster, tmp_path_factory):
    """The folder of a run up to the values."""
    folder = checkout(tmp_path_factory.mktemp("cluster"))
    status, out = run(folder, VALUES)
    assert status == 0, out
    return folder


@pytest.fixture
def trained(valued, tmp_path):
    """A copy of it without the shards and the values."""
    folder = tmp_path / "trained"
    shutil.copytree(valued, folder, symlinks=True)
    shutil.rmtree(folder / RESULTS / "shards")
    for name in ("values.parquet", "calibration.parquet", "convergence.csv"):
        (folder / RESULTS / name).unlink()
    return folder


@pytest.fixture
def same(valued, trained):
    """Asserts that the values of the copy are those of the first run."""
    return lambda: filecmp.cmp(valued / VALUES, trained / VALUES, shallow=False)


def job_of(process):
    return process.environ()["SLURM_JOB_ID"]


def start_now(job):
    """Spare a requeued job the two minutes that SLURM makes it wait."""
    wait_for(lambda: ask("squeue", "-h", "-j", job, "-o", "%r").strip() == "BeginTime")
    ask("scontrol", "update", f"JobId={job}", "StartTime=now")


def resume(processes):
    for process in processes:
        process.resume()


def test_of_a_cancelled_shard_alone_the_command_is_given_again(trained, same):
    change_profile(trained, retries=0)
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    ask("scancel", job_of(held[0]))
    resume(held[1:])
    status, out = end(command, trained)
    assert status == 1 and submitted(out) == ["score_shard"] * 2
    assert len(list((trained / RESULTS / "shards").glob("*.parquet"))) == 1
    status, out = run(trained, VALUES)
    assert status == 0 and submitted(out) == ["score_shard"] and same()


def test_with_retries_it_is_redone_within_the_run(trained, same):
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    ask("scancel", job_of(held[0]))
    resume(held[1:])
    status, out = end(command, trained)
    assert status == 0 and submitted(out) == ["score_shard"] * 3 and same()
    for resource in ("mem_mb", "runtime"):  # the second attempt has twice as much
        asked = [int(number) for number in re.findall(rf"rule score_shard:.*?{resource}=(\d+)", out, re.DOTALL)]
        assert asked[2] == 2 * asked[0] == 2 * asked[1], out


def test_out_of_memory_then_passed_with_more(trained, same):
    change_profile(trained, rules={"score_shard": {"mem_mb": "300 + 1700 * (attempt - 1)"}})
    status, out = run(trained, VALUES)
    assert status == 0 and submitted(out) == ["score_shard"] * 4 and same(), out
    printed = [path.read_text() for path in (trained / "logs/slurm/rule_score_shard").rglob("*.log")]
    assert len(printed) == 2 and all("exceeded memory limit" in text for text in printed)


def test_out_of_time_then_passed_with_more(trained, same):
    change_profile(trained, rules={"score_shard": {"runtime": "1 + 9 * (attempt - 1)"}})
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    resume(held[1:])
    status, out = end(command, trained)
    assert status == 0 and submitted(out) == ["score_shard"] * 3 and same()
    assert out.count("SLURM status is: 'TIMEOUT'") == 1


def test_preempted_shard_is_queued_again_and_goes_on_from_its_last_block(trained, same):
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    ids = {line.split()[4]: line.split()[0] for line in running("score_shard")}
    job = ids["rule_score_shard_wildcards_general_1"]
    (second,) = (process for process in held if job_of(process) == job)
    resume(held)
    wait_for(lambda: list((trained / RESULTS / "shards/.1.work/first").glob("8192.pt")))
    second.suspend()
    ask("scontrol", "requeue", job)
    start_now(job)
    status, out = end(command, trained)
    assert status == 0 and submitted(out) == ["score_shard"] * 2 and same()
    assert place(trained, "score_shard-general-1")[0] == job
    assert "Restarts=1" in ask("scontrol", "show", "job", job)
    log = (trained / LOGS / "score_shard-general-1.log").read_text()
    print(log)
    assert "profiles 8192 to 16384 have been scored before" in log


def test_node_that_dies_during_scoring(cluster, trained, same):
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    node = held[0].environ()["SLURMD_NODENAME"]
    rest = [process for process in held if process.environ()["SLURMD_NODENAME"] != node]
    jobs = {job_of(process) for process in held} - {job_of(process) for process in rest}
    kill_node(cluster, node, jobs)
    resume(rest)
    wait_for(lambda: ask("sinfo", "-h", "-N", "-n", node, "-o", "%T").startswith("down"))
    print("$ sinfo -N", ask("sinfo", "-N", "-o", "%N %P %T"), sep="\n")
    try:
        for job in jobs:
            start_now(job)
        status, out = end(command, trained)
    finally:
        subprocess.run(["slurmd", "-N", node], env=ENVIRONMENT | {"SLURM_CONF": str(cluster / "slurm.conf")})
        wait_for(lambda: ask("sinfo", "-h", "-N", "-n", node, "-o", "%T").strip() == "idle")
    assert status == 0 and same(), out
    assert {place(trained, f"score_shard-general-{shard}")[1] for shard in (0, 1)} == {"n1", "n2"} - {node}


def kill_node(cluster, node, jobs):
    """kill -9 of a node's daemon and of all that it runs."""
    os.kill(int((cluster / f"{node}.pid").read_text()), signal.SIGKILL)
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if any(f"slurmstepd: [{job}." in command for job in jobs):
            for child in [process, *process.children(recursive=True)]:
                child.kill()


def test_restart_of_slurmctld(cluster, trained, same):
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    os.kill(pid := int((cluster / "slurmctld.pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    resume(held)
    time.sleep(30)  # questions for the state of jobs go without an answer
    subprocess.run(["slurmctld"], env=ENVIRONMENT | {"SLURM_CONF": str(cluster / "slurm.conf")}, check=True)
    status, out = end(command, trained)
    assert status == 0 and submitted(out) == ["score_shard"] * 2 and same(), out


def test_interrupt_cancels_the_jobs_and_the_command_is_given_again(trained, same):
    command = start(trained, VALUES)
    hold(trained, "score_shard", 2)
    command.send_signal(signal.SIGINT)
    status, _ = end(command, trained)
    assert status != 0
    wait_for(lambda: not running("score_shard"))
    status, out = run(trained, VALUES)
    assert status == 0 and submitted(out) == ["score_shard"] * 2 and same(), out


def test_kill_of_snakemake_leaves_jobs_to_wait_for(trained, same):
    command = start(trained, VALUES)
    held = hold(trained, "score_shard", 2)
    command.kill()
    end(command, trained)
    resume(held)
    wait_for(lambda: not running("score_shard"))
    logs = [(trained / LOGS / f"score_shard-general-{shard}.log").read_text() for shard in (0, 1)]
    assert all("done in" in log for log in logs)
    status, out = run(trained, VALUES)
    assert status == 1 and "--unlock" in out
    assert run(trained, "--unlock", VALUES)[0] == 0
    status, out = run(trained, "--rerun-incomplete", VALUES)
    assert status == 0 and same(), out


def test_folder_that_nodes_do_not_share(cluster, trained):
    """n1 and n2 see an empty folder in its place."""
    daemon = ENVIRONMENT | {"SLURM_CONF": str(cluster / "slurm.conf")}

    def restart(node, *prefix):
        os.kill(pid := int((cluster / f"{node}.pid").read_text()), signal.SIGTERM)
        wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        subprocess.run([*prefix, "slurmd", "-N", node], env=daemon, check=True)
        wait_for(lambda: ask("sinfo", "-h", "-N", "-n", node, "-o", "%T").strip() == "idle")

    hide = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{trained}" && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True).returncode:
        pytest.skip("no folder can be hidden from a process here (unshare, mount)")
    change_profile(trained, retries=1)
    try:
        for node in ("n1", "n2"):
            restart(node, *hide)
        status, out = run(trained, VALUES)
    finally:
        for node in ("n1", "n2"):
            restart(node)
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(errors) == 1 and "work on a file system that all nodes share" in errors[0], out
