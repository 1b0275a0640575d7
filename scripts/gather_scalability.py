"""Join the replicates of how the time of DVGS depends on the source and `every`."""

import pandas as pd

from dvgs.io.files import write_csv
from dvgs.plotting import write_svg
from dvgs.progress import logger
from dvgs.studies.figures import scalability_figure
from dvgs.studies.scalability import quality, slopes
from dvgs.workflow.job import job


def main(input, output, study):
    table = pd.concat([pd.read_csv(path) for path in input.measured], ignore_index=True)
    times, found = slopes(table), quality(table)
    write_csv(output.measured, table.round({"seconds": 4, "auroc": 5}))
    write_csv(output.slopes, times.round(4))
    write_csv(output.quality, found.round(4))
    write_svg(output.picture, scalability_figure(table, found, study))
    for result in (times, found):
        for line in result.round(3).to_string(index=False).splitlines():
            logger.info(line)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.study)
