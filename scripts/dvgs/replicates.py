"""Replicate agreement: APC, its null, and MODZ, the weighted mean of a signature's replicates."""

import numpy as np
import pandas as pd
from scipy import sparse, stats

SINGLE = "single replicate"
MISSING = "replicate missing from the file"
CONSTANT = "constant profile"
NOT_FINITE = "NaN or infinity in the profile"
CUT = "list of replicates cut off in siginfo"
UNKNOWN = "no replicates named"
LARGEST_NULL = 10  # replicates; with more, the null is narrower still, so the p value errs on the safe side


def _unit(values):
    """Rows centred and scaled to unit norm, float64; rows without variance or with NaN come out as NaN."""
    values = values.astype(np.float64)
    centred = values - values.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    # A constant row leaves rounding errors of the mean behind; they are no variance.
    constant = norm <= 1e-7 * np.abs(values).max(axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(constant, np.nan, centred / norm)


def average_pearson(blocks, row, group, n_groups, n_genes):
    """The average Pearson correlation within groups of profiles (APC), in one pass over the profiles.

    With z_i a profile centred and scaled to unit norm, the mean over the pairs of n profiles is
    (|sum z_i|^2 - n) / (n (n - 1)); so a sum per group is all that is kept.

    blocks: yields (positions, values), each position at most once. row, group: integer arrays of
    equal length, profile position and group of every membership. Memory: n_groups x n_genes float64.
    Returns (apc, n_used, constant, not_finite): apc (n_groups,) float64, NaN for fewer than two usable profiles;
    n_used (n_groups,) int; constant, not_finite: positions of the profiles that cannot be used, and why.
    """
    sums = np.zeros((n_groups, n_genes))
    n_used = np.zeros(n_groups, int)
    constant, not_finite = [], []
    order = np.argsort(row, kind="stable")
    row, group = np.asarray(row)[order], np.asarray(group)[order]
    for positions, values in blocks:
        z = _unit(values)
        usable = ~np.isnan(z).any(axis=1)
        finite = np.isfinite(values).all(axis=1)
        constant.extend(positions[~usable & finite])
        not_finite.extend(positions[~finite])
        first, last = np.searchsorted(row, [positions[0], positions[-1] + 1])
        local = np.searchsorted(positions, row[first:last])
        keep = usable[local] & (positions[local] == row[first:last])
        groups, inverse = np.unique(group[first:last][keep], return_inverse=True)
        if len(groups) == 0:
            continue
        member = sparse.csr_array((np.ones(len(inverse)), (inverse, local[keep])), shape=(len(groups), len(positions)))
        sums[groups] += member @ np.where(usable[:, None], z, 0)
        n_used[groups] += np.bincount(inverse)
    pairs = n_used * (n_used - 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        apc = np.where(pairs > 0, (np.einsum("ij,ij->i", sums, sums) - n_used) / pairs, np.nan)
    return apc, n_used, constant, not_finite


def draw_null_groups(row, cell, perturbagen, sizes, n_groups, rng):
    """Groups of profiles that are no replicates: one cell line, different perturbagens.

    row, cell, perturbagen: arrays of equal length, one entry per profile. sizes: the group sizes wanted.
    Returns {size: (n, size) array of profile positions}, n = n_groups, or 0 where no cell line has
    enough perturbagens.
    """
    profiles = pd.DataFrame({"row": row, "cell": cell, "perturbagen": perturbagen}).dropna()
    by_cell = [frame for _, frame in profiles.groupby("cell", sort=True)]
    breadth = np.array([frame["perturbagen"].nunique() for frame in by_cell])
    weight = np.array([len(frame) for frame in by_cell], float)
    rows_of = [[part["row"].to_numpy() for _, part in frame.groupby("perturbagen", sort=True)] for frame in by_cell]
    groups = {}
    for size in sorted(sizes):
        eligible = np.flatnonzero(breadth >= size)
        if len(eligible) == 0:
            groups[size] = np.empty((0, size), int)
            continue
        share = weight[eligible] / weight[eligible].sum()
        drawn = []
        for c in rng.choice(eligible, n_groups, p=share):
            several = rng.choice(breadth[c], size, replace=False)
            drawn.append([rng.choice(rows_of[c][p]) for p in several])
        groups[size] = np.array(drawn)
    return groups


def compute_apc(level4, genes, members, signatures, n_null, rng):
    """APC of every signature, from its level 4 replicates, in one pass over the file.

    level4: an open GctxFile. genes: positions of the genes to correlate over. members: DataFrame
    `sig_id, profile_id` (tables.explode_replicates). signatures: DataFrame indexed by sig_id with
    `cell_iname` and `pert_id`. n_null: groups of non-replicates drawn per number of replicates.

    Returns (apc, lost). apc: DataFrame `sig_id, n_replicates, apc, apc_null_p, apc_fdr, reason` in the order of
    `signatures`; n_replicates counts the usable ones; reason says why there is no APC, else is "". lost:
    DataFrame `sig_id, profile_id, reason` of the replicates that could not be used.
    """
    members = members[members["sig_id"].isin(signatures.index)]
    row = pd.Index(level4.profile_ids).get_indexer(members["profile_id"])
    group = signatures.index.get_indexer(members["sig_id"])
    found = row >= 0
    n_named = np.bincount(group, minlength=len(signatures))
    n_found = np.bincount(group[found], minlength=len(signatures))

    sizes = range(2, min(n_found.max(initial=0), LARGEST_NULL) + 1)  # unusable profiles make groups smaller
    cell, perturbagen = (
        signatures[column].astype(object).replace("", np.nan).to_numpy()[group[found]]
        for column in ("cell_iname", "pert_id")
    )
    null = draw_null_groups(row[found], cell, perturbagen, sizes, n_null, rng)

    # Only signatures of several replicates need a sum. The null groups are groups like any other, behind them:
    # one pass serves both.
    several = np.flatnonzero(n_found >= 2)
    place = np.full(len(signatures), -1)
    place[several] = np.arange(len(several))
    used = found & (place[group] >= 0)
    rows, groups, n_groups = [row[used]], [place[group[used]]], len(several)
    null_groups = {}
    for size, drawn in null.items():
        null_groups[size] = np.arange(n_groups, n_groups + len(drawn))
        rows.append(drawn.ravel())
        groups.append(np.repeat(null_groups[size], size))
        n_groups += len(drawn)
    row_all, group_all = np.concatenate(rows), np.concatenate(groups)

    blocks = level4.blocks(genes, np.unique(row_all))
    values, n_summed, constant, not_finite = average_pearson(blocks, row_all, group_all, n_groups, len(genes))
    apc, n_used = np.full(len(signatures), np.nan), n_found.copy()
    apc[several], n_used[several] = values[: len(several)], n_summed[: len(several)]
    p = _null_p(apc, n_used, {size: values[g] for size, g in null_groups.items()})

    has_not_finite = np.bincount(group[np.isin(row, not_finite)], minlength=len(signatures)) > 0
    reason = np.select(
        [~np.isnan(apc), n_named == 0, n_found < np.minimum(n_named, 2), n_named == 1, has_not_finite],
        ["", UNKNOWN, MISSING, SINGLE, NOT_FINITE],
        default=CONSTANT,
    )
    table = pd.DataFrame(
        {
            "sig_id": signatures.index.to_numpy(),
            "n_replicates": n_used,
            "apc": apc,
            "apc_null_p": p,
            "apc_fdr": _fdr(p),
            "reason": reason,
        }
    )
    why = [~found & members["cut"], ~found, np.isin(row, constant), np.isin(row, not_finite)]
    lost = members[["sig_id", "profile_id"]].assign(reason=np.select(why, [CUT, MISSING, CONSTANT, NOT_FINITE], ""))
    return table, lost[lost["reason"] != ""].reset_index(drop=True)


def _null_p(apc, n_used, null):
    """P(a group of as many non-replicates agrees at least as well); NaN without APC or without a null."""
    p = np.full(len(apc), np.nan)
    for size, values in null.items():
        values = np.sort(values[~np.isnan(values)])
        several = ~np.isnan(apc) & (np.minimum(n_used, LARGEST_NULL) == size)
        if len(values):
            larger = len(values) - np.searchsorted(values, apc[several], side="left")
            p[several] = (1 + larger) / (1 + len(values))
    return p


def _fdr(p):
    known = ~np.isnan(p)
    fdr = np.full(len(p), np.nan)
    if known.any():
        fdr[known] = stats.false_discovery_control(p[known], method="bh")
    return fdr


def modz(replicates, landmarks=slice(None)):
    """Collapse the replicates of one signature as CMap does (MODZ).

    replicates: (n, genes). landmarks: the columns over which the Spearman correlations are taken.
    Every replicate is clipped at +-10, weighted by its mean Spearman correlation with the others, floored
    at 0.01, weights summing to one. Returns (signature (genes,), weights (n,)), float64.
    """
    clipped = np.clip(np.asarray(replicates, dtype=np.float64), -10, 10)
    n = len(clipped)
    if n <= 2:
        weights = np.full(n, 1 / n)
    else:
        correlation = np.corrcoef(stats.rankdata(clipped[:, landmarks], axis=1))
        weights = np.maximum((correlation.sum(axis=1) - 1) / (n - 1), 0.01)
        weights /= weights.sum()
    return weights @ clipped, weights
