"""Collapse the replicates that were kept into a cleaned level 5, one signature each."""

from dvgs.compendium.profiles import Profiles
from dvgs.io.files import write_csv
from dvgs.io.h5ad import read_obs, read_var
from dvgs.progress import logger
from dvgs.replicates.modz import lost_signatures, write_level5
from dvgs.workflow.job import job


def main(input, output):
    kept = write_level5(output.gctx, Profiles(input.cleaned), read_obs(input.cleaned), read_var(input.cleaned))
    lost = lost_signatures(read_obs(input.signatures)["sig_id"].astype(str), kept)
    logger.info("%d signatures, %d lost all their replicates", len(kept), len(lost))
    write_csv(output.ledger, lost, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output)
