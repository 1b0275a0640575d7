"""Value the source of one replicate of a study by one method, and write how long the valuation alone took."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.devices import pick_device
from dvgs.io.files import write_csv, write_parquet
from dvgs.progress import logger
from dvgs.studies.experiment import make_task, seed_of, value_task
from dvgs.workflow.job import job


def main(input, output, wildcards, model, settings, most_hours, seed, device):
    work = Path(output.values).with_suffix(".work")
    work.mkdir(exist_ok=True)
    goes_on = any(work.iterdir())
    drawn = np.load(input.drawn)
    task = make_task(
        drawn,
        **model,
        seed=seed_of(seed, wildcards.study, wildcards.replicate),
        device=pick_device(device),
        work=work,
        most_hours=most_hours,
    )
    table, seconds = value_task(task, wildcards.method, settings)
    logger.info("%s: %.2f s for %d values", wildcards.method, seconds, len(table))
    if goes_on:
        logger.info("its seconds are not known, because it was killed before and went on")
        seconds = np.nan
    # Seconds differ from run to run, values do not; so they are in different files.
    write_csv(output.seconds, pd.DataFrame({"seconds": [seconds]}))
    write_parquet(output.values, table.assign(corrupted=drawn["corrupted"], noise_sd=drawn["noise_sd"]))
    shutil.rmtree(work)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
