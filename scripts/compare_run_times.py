"""Compare the methods of the studies that are finished: quality against time."""

from pathlib import Path

import pandas as pd

from dvgs.errors import InputError
from dvgs.io.files import write_csv
from dvgs.plotting import write_svg
from dvgs.progress import logger
from dvgs.studies.figures import run_time_figure
from dvgs.studies.summaries import compare
from dvgs.workflow.job import job


def read(paths):
    return pd.concat([pd.read_csv(path).assign(study=Path(path).parent.name) for path in paths], ignore_index=True)


def main(input, output):
    if not input.detection:
        raise InputError("run_times", "studies", "none is finished", "run snakemake studies first")
    table = compare(read(input.detection), read(input.seconds))
    write_csv(output.table, table.map(lambda x: float(f"{x:.4g}") if isinstance(x, float) else x))
    write_svg(output.picture, run_time_figure(table))
    for line in table.to_string(index=False, float_format="{:.3g}".format).splitlines():
        logger.info(line)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output)
