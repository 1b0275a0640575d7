"""Write the embedded demo release and its truth."""

from dvgs.simulation.simulator import simulate_release
from dvgs.workflow.job import job

if __name__ == "__main__":
    with job(snakemake):
        simulate_release(**dict(snakemake.output), **snakemake.params.simulation, seed=snakemake.params.seed)
