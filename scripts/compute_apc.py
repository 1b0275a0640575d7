"""Compute replicate agreement (APC): of every signature from its level 4 replicates, or of every single replicate."""

import pandas as pd

from dvgs.compendium.ledger import read_ledger
from dvgs.compendium.selection import gene_positions
from dvgs.io.files import write_csv, write_parquet
from dvgs.io.formats import open_matrix
from dvgs.io.h5ad import read_obs, read_var
from dvgs.io.tables import explode_replicates, read_siginfo
from dvgs.progress import logger
from dvgs.replicates.apc import absent_replicates, compare_q75, compute_apc, compute_replicate_apc
from dvgs.seeds import generator
from dvgs.workflow.job import job


def of_signatures(input, obs, folder, **null):
    with open_matrix(input.level4, "input.level4") as level4:
        genes = gene_positions(level4, read_var(input.signatures).index)
        members = explode_replicates(obs["distil_ids"].astype(str))
        apc, lost = compute_apc(level4, genes, members, obs, folder=folder, **null)
    if "cc_q75" in obs:
        told = compare_q75(apc["spearman_q75"].to_numpy(), obs["cc_q75"].to_numpy())
        logger.info(told or "siginfo's cc_q75 is empty")
    return apc, lost


def of_replicates(input, obs, **null):
    with open_matrix(input.signatures, "signatures") as compendium:
        apc, lost = compute_replicate_apc(compendium, obs, **null)
    if "siginfo" in input.keys():  # noqa: SIM118
        members = explode_replicates(read_siginfo(input.siginfo)["distil_ids"])
        known = obs.index.append(pd.Index(read_ledger(input.ledger)["profile_id"]))
        lost = pd.concat([absent_replicates(members, known), lost], ignore_index=True)
    return apc, lost


def main(input, output, null_groups, null_within, seed):
    obs = read_obs(input.signatures)
    null = {"n_null": null_groups, "within": null_within, "rng": generator(seed, "apc_null")}
    if "level4" in input.keys():  # noqa: SIM118, Snakemake's input is no dict
        apc, lost = of_signatures(input, obs, folder=output.apc.rpartition("/")[0], **null)
    else:
        apc, lost = of_replicates(input, obs, **null)
    logger.info("%d of %d have an APC", apc["apc"].notna().sum(), len(apc))
    for row in lost.head(20).itertuples():
        logger.info("  not used: %s of %s, %s", row.profile_id, row.sig_id, row.reason)
    write_parquet(output.apc, apc)
    write_csv(output.replicate_ledger, lost, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
