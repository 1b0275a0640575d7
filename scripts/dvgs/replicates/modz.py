"""MODZ: replicates collapsed to a signature, as CMap does, and the level 5 of all signatures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import stats

from dvgs.io.gctx import write_gctx
from dvgs.io.rows import ScratchRows
from dvgs.progress import Progress

# What replicates of a signature have in common.
SHARED = (
    "pert_id",
    "cmap_name",
    "pert_type",
    "cell_iname",
    "pert_dose",
    "pert_dose_unit",
    "pert_time",
    "pert_time_unit",
)
ALL_DROPPED = "all replicates dropped"


class RowsOfProfiles(Protocol):
    """What gives profiles by position, as compendium.profiles.Profiles does."""

    def rows(self, rows: np.ndarray) -> np.ndarray: ...


def modz(replicates: np.ndarray, landmarks: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Collapse the replicates of one signature as CMap does (MODZ).

    replicates: (n, genes). landmarks: the columns over which the Spearman correlations are taken.
    Every replicate is clipped at +-10, weighted by its mean Spearman correlation with the others, floored
    at 0.01, weights summing to one. A constant replicate counts as correlated with none. Returns (signature (genes,),
    weights (n,)), float64.
    """
    clipped = np.clip(np.asarray(replicates, dtype=np.float64), -10, 10)
    n = len(clipped)
    if n <= 2:
        weights = np.full(n, 1 / n)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(stats.rankdata(clipped[:, landmarks], axis=1))
        weights = np.maximum((np.nan_to_num(correlation).sum(axis=1) - 1) / (n - 1), 0.01)
        weights /= weights.sum()
    return weights @ clipped, weights


def collapse(
    profiles: RowsOfProfiles, sig_id: np.ndarray, landmarks: np.ndarray | slice = slice(None)
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Collapse the replicates of every signature by MODZ, one signature in memory at a time.

    profiles: unscaled, a row per replicate. sig_id: the signature of each, replicates of one standing
    together; "" for none, which are left out. landmarks: as for modz. Yields (rows, signature,
    weights) of each signature, float32 of (genes,) and float64 of (rows,).
    """
    starts = np.flatnonzero(np.r_[True, sig_id[1:] != sig_id[:-1]])
    for start, stop in zip(starts, [*starts[1:], len(sig_id)], strict=True):
        if sig_id[start] != "":
            rows = np.arange(start, stop)
            signature, weights = modz(profiles.rows(rows), landmarks)
            yield rows, signature.astype(np.float32), weights


def landmarks(var: pd.DataFrame) -> np.ndarray:
    """The columns over which replicates are weighted: the landmark genes, or all where there are fewer than two."""
    found = np.flatnonzero(var["feature_space"] == "landmark") if "feature_space" in var else np.empty(0, int)
    return found if len(found) > 1 else np.arange(len(var))


def write_level5(path: str | Path, profiles: RowsOfProfiles, obs: pd.DataFrame, var: pd.DataFrame) -> pd.Index:
    """Write the signatures of replicates as GCTX, one by one; return their ids, in the order of the file.

    profiles: unscaled, a row per replicate. obs: a row per replicate, by its id, with `sig_id` ("" for none),
    replicates of one signature standing together. var: a row per gene. The metadata are what is SHARED, `nsample`,
    and ids and weights of the replicates, `distil_ids` and `distil_wt`.
    """
    sig_id = obs["sig_id"].astype(str).to_numpy()
    kept = pd.Index(sig_id).unique().drop("", errors="ignore")
    progress, firsts, table = Progress("collapsing, signatures", len(kept)), [], []
    shape = (len(kept), len(var))
    with ScratchRows(Path(path).parent, shape, np.float32, also=4 * shape[0] * shape[1]) as level5:
        for place, (rows, signature, weights) in enumerate(collapse(profiles, sig_id, landmarks(var))):
            level5.write([place], signature[None])
            firsts.append(rows[0])
            table.append((len(rows), "|".join(obs.index[rows]), ",".join(f"{w:.4f}" for w in weights)))
            progress.advance()
        shared = obs.iloc[firsts][[name for name in SHARED if name in obs]].reset_index(drop=True)
        collapsed = pd.DataFrame(table, columns=["nsample", "distil_ids", "distil_wt"])
        write_gctx(path, level5.blocks(), sig_id[firsts], var.index, pd.concat([shared, collapsed], axis=1), var)
    return kept


def lost_signatures(before: pd.Series, kept: pd.Index) -> pd.DataFrame:
    """The signatures that lost all their replicates: DataFrame `sig_id, n_replicates, reason`, sorted by id.

    before: the signature of every replicate before any was dropped, "" for none. kept: the signatures that are left.
    """
    n_before = before[before != ""].value_counts()
    gone = n_before[~n_before.index.isin(kept)].sort_index()
    return pd.DataFrame({"sig_id": gone.index, "n_replicates": gone, "reason": ALL_DROPPED})
