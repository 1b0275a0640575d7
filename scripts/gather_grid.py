"""Join the shards of a grid of settings, and compute the effect of each factor."""

import pandas as pd

from dvgs.io.files import write_csv
from dvgs.plotting import write_svg
from dvgs.progress import logger
from dvgs.seeds import generator
from dvgs.studies.figures import grid_figure
from dvgs.studies.sensitivity import FACTORS, effects, summary
from dvgs.workflow.job import job


def main(input, output, study, grid, n_bootstrap, seed):
    table = pd.concat([pd.read_csv(path) for path in input.shards], ignore_index=True)
    table = table.sort_values([*FACTORS, "similarity"], ignore_index=True)
    by_factor, overall = effects(table, grid, n_bootstrap, generator(seed, "grid", study)), summary(table, grid)
    write_csv(output.settings, table.round({"auroc": 5}))
    write_csv(output.effects, by_factor.round(4))
    write_csv(output.summary, overall.round(4))
    write_svg(output.picture, grid_figure(table, by_factor, f"{study}: {len(table):,} settings of DVGS"))
    for line in overall.round(3).to_string(index=False).splitlines():
        logger.info(line)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.study, **snakemake.params)
