"""Collapse the replicates that were kept into a cleaned level 5, one signature each."""

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.io.files import write_csv
from dvgs.io.gctx import write_gctx
from dvgs.io.h5ad import read_obs, read_var
from dvgs.io.rows import ScratchRows
from dvgs.progress import Progress, logger
from dvgs.replicates.modz import ALL_DROPPED, SHARED, collapse, landmarks
from dvgs.workflow.job import job


def main(input, output):
    before = read_obs(input.signatures)["sig_id"].astype(str)
    obs, var = read_obs(input.cleaned), read_var(input.cleaned)
    sig_id, profiles = obs["sig_id"].astype(str).to_numpy(), Profiles(input.cleaned)
    shared = [name for name in SHARED if name in obs]
    kept = pd.Index(sig_id).unique().drop("", errors="ignore")
    progress, firsts, table = Progress("collapsing, signatures", len(kept)), [], []
    with ScratchRows(
        output.gctx.rpartition("/")[0], (len(kept), len(var)), np.float32, also=4 * len(kept) * len(var)
    ) as level5:
        for place, (rows, signature, weights) in enumerate(collapse(profiles, sig_id, landmarks(var))):
            level5.write(np.array([place]), signature[None])
            firsts.append(rows[0])
            table.append((len(rows), "|".join(obs.index[rows]), ",".join(f"{w:.4f}" for w in weights)))
            progress.advance()
        table = pd.DataFrame(table, columns=["nsample", "distil_ids", "distil_wt"])
        table = pd.concat([obs.iloc[firsts][shared].reset_index(drop=True), table], axis=1)
        write_gctx(output.gctx, level5.blocks(), sig_id[firsts], var.index, table, var)
    n_before = before[before != ""].value_counts()
    gone = n_before[~n_before.index.isin(kept)].sort_index()
    logger.info("%d signatures, %d lost all their replicates", len(kept), len(gone))
    write_csv(
        output.ledger, pd.DataFrame({"sig_id": gone.index, "n_replicates": gone, "reason": ALL_DROPPED}), sep="\t"
    )


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output)
