"""Join the replicates of the filter curves."""

import pandas as pd

from dvgs.io.files import write_csv
from dvgs.workflow.job import job


def main(input, output):
    curves = pd.concat([pd.read_csv(path) for path in input.curves])
    write_csv(output.curves, curves.sort_values("replicate", kind="stable"))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output)
