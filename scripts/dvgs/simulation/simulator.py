"""A small compendium with planted faults, in the file formats of LINCS 2020: for demos and tests.

Perturbagens of one target share a response of few programmes, which every cell line modulates. A replicate is
the response, scaled to the signature's strength r, plus noise of about unit sd:

    replicate = sqrt(r / (1 - r)) response + noise,     so that clean replicates correlate by about r

Strengths follow a logistic-normal distribution; its level is chosen so that APC is as published for LINCS 2020 (median
about .065, 6 % above .5). Three faults are planted and written down: Gaussian noise on some replicates, whole
bad plates, and wells of one plate that were exchanged. The data are made up; only the formats are real.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.io.gctx import write_gctx
from dvgs.simulation.biology import draw_noise, draw_responses, draw_strengths
from dvgs.simulation.design import draw_genes, draw_replicates, lay_out
from dvgs.simulation.faults import plant_faults
from dvgs.simulation.release import (
    collapse_replicates,
    compoundinfo_of,
    instinfo_of,
    replicate_columns,
    siginfo_of,
    truth_of,
    write_table,
)


def simulate_release(
    level4: str | Path,
    level5: str | Path,
    siginfo: str | Path,
    instinfo: str | Path,
    geneinfo: str | Path,
    compoundinfo: str | Path,
    truth_signatures: str | Path,
    truth_profiles: str | Path,
    *,
    n_signatures: int = 2000,
    noisy_share: float = 0.2,
    noise_sd: float = 3.0,
    n_bad_plates: int = 2,
    swapped_share: float = 0.03,
    seed: int = 1,
) -> None:
    """Write a release of `n_signatures` compound signatures, and some of controls and shRNAs, with its truth.

    level4 ... truth_profiles: the paths to write: two GCTX files (978 landmark and 120 inferred genes), the four
    LINCS 2020 tables and two tables of truth. noisy_share: share of the replicates that get Gaussian noise,
    each of its own sd ~ U[0, noise_sd] on every landmark gene. n_bad_plates: plates, at most all, whose
    wells are scrambled and get an artefact. swapped_share: share of the replicates that are exchanged with another
    one of their plate, not counting bad plates.
    The same arguments write the same bytes; other faults with the same seed do not change the biology.

    truth_signatures, one row per signature: `sig_id`; `noise_sd`, the sd that planted noise leaves in the
    signature, sqrt(sum w_i^2 sd_i^2) over its MODZ weights w_i; `n_replicates`, `n_noisy`, `n_bad_plate`,
    `n_swapped`; `fault`, the first that applies of "bad_plate" and "swapped" (a quarter or more of the MODZ weight
    lies on such replicates), "noise" (noise_sd > 0.5) and "none"; `strength`, r above, 0 for controls.
    truth_profiles, one row per replicate: `sample_id`, `noise_sd`, `bad_plate` (0/1), `swapped_with` ("" if none).
    """
    streams = np.random.SeedSequence(seed).spawn(6)
    layout_rng, biology_rng, noise_rng, fault_rng, order_rng, annotation_rng = map(np.random.default_rng, streams)

    signatures = lay_out(n_signatures)
    replicates = draw_replicates(signatures, layout_rng)
    signatures["qc_pass"] = np.where(layout_rng.random(len(signatures)) < 0.03, 0, 1)
    genes, inference = draw_genes(layout_rng)

    signatures["strength"] = draw_strengths(signatures, biology_rng)
    responses = draw_responses(signatures, biology_rng)
    profiles = responses[replicates["signature"]] + draw_noise(signatures, replicates, noise_rng)
    profiles, faults = plant_faults(profiles, replicates, noisy_share, noise_sd, n_bad_plates, swapped_share, fault_rng)
    # As in L1000, the other genes are not measured: they are weighted sums of landmarks, including their faults.
    profiles = np.hstack([profiles, profiles @ inference]).astype(np.float32)

    collapsed, weights, quality = collapse_replicates(profiles, replicates, len(signatures))
    signatures = signatures.join(quality).join(replicate_columns(signatures, replicates, layout_rng))

    gene_order = order_rng.permutation(len(genes))
    for path, matrix, ids in (
        (level4, profiles, replicates["sample_id"]),
        (level5, collapsed, signatures["sig_id"]),
    ):
        order = order_rng.permutation(len(ids))  # no code may rely on files and tables having the same order
        ids, gene_ids = ids.to_numpy()[order], genes["gene_id"].to_numpy()[gene_order]
        write_gctx(path, matrix[np.ix_(order, gene_order)], ids, gene_ids)
    write_table(siginfo, siginfo_of(signatures))
    write_table(instinfo, instinfo_of(signatures, replicates))
    write_table(geneinfo, genes.sort_values("gene_id"))
    write_table(compoundinfo, compoundinfo_of(signatures, annotation_rng))
    write_table(truth_signatures, truth_of(signatures, replicates, faults, weights))
    write_table(truth_profiles, pd.concat([replicates["sample_id"], faults], axis=1))
