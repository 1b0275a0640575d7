"""Which setting to change when a cluster refuses jobs, never starts them, or does not share the working folder."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dvgs.errors import InputError

PROFILE = "slurm/config.yaml"
# What sbatch and Snakemake's executor say of a refused job, or squeue of one that would never start: a regular
# expression, then the setting, the problem and the remedy.
REFUSALS = {
    "Invalid partition name": ("slurm_partition", "SLURM knows no such partition", "take one that `sinfo -s` lists"),
    "Invalid account|account .* appears to be invalid|InvalidAccount|AccountNotAllowed": (
        "slurm_account",
        "SLURM refuses this account",
        "take one that `sacctmgr show associations user=$USER` lists",
    ),
    "Requested node configuration is not available|Invalid generic resource|PartitionNodeLimit|PartitionConfig"
    r"|BadConstraints|Max(?!Wall)\w+Per(Job|Node)": (
        "set-resources",
        "no node of the partition has the GPUs, CPUs or memory that a job asks for, or you may not have them",
        "change gpu, slurm_partition or mem_mb of the rule named above, or `threads` in the config of the compendium; "
        "`sinfo -o '%P %c %m %G'` tells what nodes have",
    ),
    r"Requested time limit is invalid|PartitionTimeLimit|MaxWall\w+PerJob": (
        "set-resources",
        "a job asks for more time than its partition gives",
        "change runtime or slurm_partition of the rule named above; `sinfo -o '%P %l'` lists the limits",
    ),
    "Invalid qos|InvalidQOS|QOSNotAllowed": (
        "slurm-qos",
        "SLURM refuses this quality of service",
        "ask for one that your account has",
    ),
}


def watch_queue(tell: Callable[[str], object]) -> None:
    """Twice a minute, in a thread, cancel the jobs of this folder that would never start.

    tell: is called with a line that gives the reason. Snakemake itself would wait for these jobs for ever. Where there
    is no squeue, nothing is looked at.
    """

    def watch() -> None:
        while shutil.which("squeue"):
            time.sleep(30)
            command = ["squeue", "--me", "--noheader", "--states", "pending", "--format", "%i|%r|%Z|%k"]
            for job, reason, comment in hopeless(subprocess.run(command, capture_output=True, text=True).stdout):
                tell(f"SLURM would let job {job} ({comment}) wait for ever ({reason}), so it is cancelled")
                subprocess.run(["scancel", job])

    threading.Thread(target=watch, daemon=True).start()


def keep_asking(executor: Any, seconds: float = 5) -> None:
    """Make Snakemake's SLURM executor wait while slurmctld does not answer, for instance during its restart.

    executor: the module. Before it looks for its jobs it asks how long SLURM remembers them. Without an answer it
    asks sacct, and on a cluster without accounting it then forgets its jobs and never ends (seen with version 2.8.0).
    """
    ask = executor.get_min_job_age

    def patiently() -> int:
        while (age := ask()) is None:
            time.sleep(seconds)
        return age

    executor.get_min_job_age = patiently


def hopeless(listed: str) -> Iterator[tuple[str, str, str]]:
    """Job, reason and comment of the jobs that would never start, from lines `job|reason|folder|comment`.

    Only jobs of this folder with the comment of Snakemake's executor count: users may have submitted others here.
    """
    for line in listed.splitlines():
        match = re.fullmatch(r"(.+?)\|(.+?)\|(.+)\|(rule_.+)", line)
        if match and Path(match[3]) == Path.cwd() and any(re.search(said, match[2]) for said in REFUSALS):
            yield match[1], match[2], match[4]


def remedies(log: str) -> list[InputError]:
    """An InputError for each setting to change, from the text of Snakemake's log."""
    found = [InputError(PROFILE, *remedy) for said, remedy in REFUSALS.items() if re.search(said, log)]
    printed = re.findall(r"(/\S+/\d+\.log) \(check log file", log)
    if not found and any(not Path(path).exists() for path in printed):
        problem = "a job failed before it could print anything here, as where nodes do not see this folder"
        found.append(InputError(Path.cwd(), "folder", problem, "work on a file system that all nodes share"))
    return found
