"""Value the source of a compendium by one of the methods of the studies, which train models on samples."""

import shutil
from pathlib import Path

import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import target_rows, valued_rows
from dvgs.devices import pick_device
from dvgs.errors import InputError
from dvgs.io.files import write_parquet
from dvgs.methods.registry import OF_TASKS
from dvgs.methods.task import Task
from dvgs.seeds import derive_seed
from dvgs.studies.experiment import value_task
from dvgs.training.models import make_autoencoder
from dvgs.workflow.job import job


def main(input, output, wildcards, model, most_hours, device, seed):
    if wildcards.method not in OF_TASKS:
        raise InputError("methods", wildcards.method, "no such method", f"known here: {', '.join(OF_TASKS)}")
    split, device = pd.read_parquet(input.split), pick_device(device)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    rows = valued_rows(split, "first")
    x, target = profiles.tensor(rows, device), profiles.tensor(target_rows(split, "first"), device)
    work = Path(output.values).with_suffix(".work")
    work.mkdir(exist_ok=True)
    task = Task(
        (x, x),
        (target, target),
        lambda start: make_autoencoder(x.shape[1], **model, seed=start),
        n_classes=0,
        seed=derive_seed(seed, "method", wildcards.target),
        work=work,
        most_hours=most_hours,
    )
    table, _ = value_task(task, wildcards.method, None)
    table.insert(0, "profile_id", split["profile_id"].to_numpy()[rows])
    write_parquet(output.values, table)
    shutil.rmtree(work)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
