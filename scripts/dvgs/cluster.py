"""What to change when a cluster refuses jobs or does not share the working folder, told from what Snakemake logged."""

import re
from pathlib import Path

from dvgs.errors import InputError

PROFILE = "slurm/config.yaml"
# What sbatch and Snakemake's executor say, and so the setting, the problem and the remedy.
REFUSALS = {
    "Invalid partition name": ("slurm_partition", "SLURM knows no such partition", "take one that `sinfo -s` lists"),
    "Invalid account|account .* appears to be invalid": (
        "slurm_account",
        "SLURM refuses this account",
        "take one that `sacctmgr show associations user=$USER` lists",
    ),
    "Requested node configuration is not available|Invalid generic resource": (
        "set-resources",
        "no node of the partition has the GPUs, CPUs or memory that a job asks for",
        "change gpu, slurm_partition or mem_mb of the rule named above; `sinfo -o '%P %c %m %G'` tells what nodes have",
    ),
    "Requested time limit is invalid": (
        "set-resources",
        "a job asks for more time than its partition gives",
        "change runtime or slurm_partition of the rule named above; `sinfo -o '%P %l'` lists the limits",
    ),
    "Invalid qos": ("slurm-qos", "SLURM refuses this quality of service", "ask for one that your account has"),
}


def remedies(log):
    """InputErrors, one for each setting to change, by the text of Snakemake's log."""
    found = [InputError(PROFILE, *remedy) for said, remedy in REFUSALS.items() if re.search(said, log)]
    printed = re.findall(r"(/\S+/\d+\.log) \(check log file", log)
    if any(not Path(path).exists() for path in printed):
        problem = "a job failed before it could print anything here, as where nodes do not see this folder"
        found.append(InputError(Path.cwd(), "folder", problem, "work on a file system that all nodes share"))
    return found
