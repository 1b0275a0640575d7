"""Compute the APC of every signature from its level 4 replicates."""

import logging

from dvgs.compendium import gene_positions
from dvgs.files import write_csv, write_parquet
from dvgs.h5ad import read_obs, read_var
from dvgs.jobs import job
from dvgs.matrices import open_matrix
from dvgs.replicates import compute_apc
from dvgs.seeds import generator
from dvgs.tables import explode_replicates


def main(input, output, null_groups, seed):
    obs = read_obs(input.signatures)
    with open_matrix(input.level4, "input.level4") as level4:
        genes = gene_positions(level4, read_var(input.signatures).index)
        members = explode_replicates(obs["distil_ids"].astype(str))
        apc, lost = compute_apc(level4, genes, members, obs, null_groups, generator(seed, "apc_null"))
    log = logging.getLogger("dvgs")
    log.info("%d of %d signatures have an APC", apc["apc"].notna().sum(), len(apc))
    for row in lost.head(20).itertuples():
        log.info("  not used: %s of %s, %s", row.profile_id, row.sig_id, row.reason)
    write_parquet(output.apc, apc)
    write_csv(output.replicate_ledger, lost, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
