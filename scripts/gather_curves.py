"""Join the replicates of the filter curves."""

import pandas as pd

from dvgs.io.files import write_csv
from dvgs.workflow.job import job

if __name__ == "__main__":
    with job(snakemake):
        curves = pd.concat([pd.read_csv(path) for path in snakemake.input.curves])
        curves = curves.sort_values("replicate", kind="stable")
        write_csv(snakemake.output.curves, curves)
