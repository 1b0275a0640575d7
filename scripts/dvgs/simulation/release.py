"""Level 5, the tables of the release and those of the truth."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from dvgs.io.files import written_whole
from dvgs.replicates.modz import modz
from dvgs.simulation.design import LANDMARKS, PLATES, TARGETS

UNKNOWN_TARGET, WRONG_TARGET = 0.2, 0.1  # shares of the compounds in compoundinfo
GRAVE_SHARE = 0.25  # a signature is faulty if replicates with this share of its MODZ weight are
GRAVE_NOISE = 0.5  # a signature with a larger noise_sd is faulty


def collapse_replicates(
    profiles: np.ndarray, replicates: pd.DataFrame, n_signatures: int
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Level 5 (signatures, genes), the MODZ weight of every replicate, and a table `cc_q75, tas`."""
    collapsed = np.empty((n_signatures, profiles.shape[1]))
    weights, quality = [], []
    starts = np.searchsorted(replicates["signature"], np.arange(1, n_signatures))
    for i, own in enumerate(np.split(profiles, starts)):
        collapsed[i], weight = modz(own, slice(LANDMARKS))
        weights.append(weight)
        quality.append(_quality(own[:, :LANDMARKS], collapsed[i, :LANDMARKS]))
    return collapsed, np.concatenate(weights), pd.DataFrame(quality, columns=["cc_q75", "tas"])


def _quality(replicates: np.ndarray, signature: np.ndarray) -> tuple[float, float]:
    """Agreement of the replicates (75th percentile of their Spearman correlations) and activity score (TAS).

    CMap writes 0 for both where there is one replicate.
    """
    n = len(replicates)
    if n == 1:
        return 0.0, 0.0
    correlation = np.corrcoef(stats.rankdata(replicates, axis=1))
    cc_q75 = np.quantile(correlation[np.triu_indices(n, 1)], 0.75)
    n_changed = (np.abs(signature) * np.sqrt(n) >= 2).sum()
    return cc_q75, np.sqrt(n_changed * max(cc_q75, 0) / LANDMARKS)


def replicate_columns(signatures: pd.DataFrame, replicates: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """`nsample, det_plates, distil_ids` of every signature, `|` between; a few name an absent profile."""
    groups = replicates.groupby("signature")
    columns = pd.DataFrame(
        {
            "nsample": groups.size(),
            "det_plates": groups["det_plate"].agg("|".join),
            "distil_ids": groups["sample_id"].agg("|".join),
        }
    )
    open_to_more = np.flatnonzero(columns["nsample"] < PLATES)
    for i in rng.choice(open_to_more, min(len(open_to_more), 2 + len(signatures) // 500), replace=False):
        sample_id = columns.at[i, "distil_ids"].split("|")[0]
        columns.at[i, "distil_ids"] += "|" + re.sub(r"_X\d_", f"_X{PLATES + 1}_", sample_id)
    return columns


def _perturbation(signatures: pd.DataFrame) -> pd.DataFrame:
    """The columns that siginfo and instinfo share, missing values as CMap writes them."""
    known = signatures["pert_dose"].notna()
    dose = signatures["pert_dose"].astype(str).where(known, "-666")
    time = signatures["pert_time"].astype(str)
    return pd.DataFrame(
        {
            "pert_id": signatures["pert_id"],
            "cmap_name": signatures["cmap_name"],
            "bead_batch": signatures["bead_batch"],
            "pert_dose": dose,
            "pert_dose_unit": np.where(known, "uM", "-666"),
            "pert_idose": (signatures["pert_dose"].map("{:g}".format) + " uM").where(known, "-666"),
            "pert_time": time,
            "pert_time_unit": "h",
            "pert_itime": time + " h",
            "pert_type": signatures["pert_type"],
            "cell_iname": signatures["cell_iname"],
            "qc_pass": signatures["qc_pass"],
        }
    )


def siginfo_of(signatures: pd.DataFrame) -> pd.DataFrame:
    """The table of signatures as LINCS 2020 has it, a row per signature, missing values as -666."""
    measured = signatures[["nsample", "cc_q75", "tas", "det_plates", "distil_ids"]]
    return pd.concat([signatures["sig_id"], _perturbation(signatures), measured], axis=1)


def instinfo_of(signatures: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """The table of level 4 profiles as LINCS 2020 has it; `replicates` names the row of its signature."""
    perturbation = _perturbation(signatures).iloc[replicates["signature"]].reset_index(drop=True)
    return pd.concat([replicates[["sample_id", "det_plate", "det_well"]], perturbation], axis=1)


def compoundinfo_of(signatures: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One row per compound and target, in no order; some compounds have no target, some a second one that is wrong."""
    compounds = signatures[signatures["pert_type"] == "trt_cp"].drop_duplicates("pert_id")
    draw = rng.random(len(compounds))
    table = compounds[["pert_id", "cmap_name"]].assign(target=compounds["target"].where(draw >= UNKNOWN_TARGET))
    wrong = (compounds["target"] + rng.integers(1, TARGETS, len(compounds))) % TARGETS
    table = pd.concat([table, table.assign(target=wrong)[draw >= 1 - WRONG_TARGET]])
    number = table["target"] + 1  # as in cmap_name
    names = number.map("TARGET{:02.0f}".format, na_action="ignore")
    moas = number.map("target {:.0f} inhibitor".format, na_action="ignore")
    return table.assign(target=names, moa=moas).sample(frac=1, random_state=rng)


def truth_of(
    signatures: pd.DataFrame, replicates: pd.DataFrame, faults: pd.DataFrame, weights: np.ndarray
) -> pd.DataFrame:
    """The table of truth_signatures (simulate_release), a row per signature.

    replicates, faults: a row per level 4 profile. weights: (profiles,), those of MODZ.
    """

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(replicates["signature"], values, minlength=len(signatures))

    bad, swapped = faults["bad_plate"].to_numpy(), (faults["swapped_with"] != "").to_numpy()
    noise_sd = np.sqrt(total(np.square(weights * faults["noise_sd"])))
    conditions = [
        total(weights * bad) >= GRAVE_SHARE,
        total(weights * swapped) >= GRAVE_SHARE,
        noise_sd > GRAVE_NOISE,
    ]
    return pd.DataFrame(
        {
            "sig_id": signatures["sig_id"],
            "noise_sd": noise_sd,
            "n_replicates": signatures["nsample"],
            "n_noisy": total(faults["noise_sd"] > 0).astype(int),
            "n_bad_plate": total(bad).astype(int),
            "n_swapped": total(swapped).astype(int),
            "fault": np.select(conditions, ["bad_plate", "swapped", "noise"], default="none"),
            "strength": signatures["strength"],
        }
    )


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a DataFrame as tab-separated text, numbers with six digits: the whole file or nothing."""
    with written_whole(path) as partial:
        frame.to_csv(partial, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
