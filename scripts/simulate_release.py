"""Write the embedded demo release and its truth."""

from dvgs.jobs import job
from dvgs.simulation import simulate_release

if __name__ == "__main__":
    with job(snakemake):
        simulate_release(**dict(snakemake.output), **snakemake.params.simulation, seed=snakemake.params.seed)
