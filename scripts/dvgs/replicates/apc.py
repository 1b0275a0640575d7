"""Replicate agreement (APC): of signatures, from their level 4 replicates, and of single replicates."""

import numpy as np
import pandas as pd

from dvgs.compendium.ledger import NOT_USABLE
from dvgs.io.rows import ScratchRows
from dvgs.io.tables import MISSING_NUMBER
from dvgs.progress import Progress
from dvgs.replicates.correlation import GroupSums, doubled_ranks, rank_dtype, spearman_quantile
from dvgs.replicates.null import LARGEST, draw_null_groups, false_discovery, null_p

SINGLE = "single replicate"
NO_SIBLING = "no other replicate is usable"
MISSING = "replicate missing from the file"
CONSTANT = "constant profile"
CUT = "list of replicates cut off in siginfo"
UNKNOWN = "no replicates named"
NO_SIGNATURE = "replicate of no signature"
QUANTILE = 0.75  # of the Spearman correlations of replicates, as in CMap's cc_q75


def plates_of(profile_ids):
    """The plate in profile ids such as `LJP005_A375_24H_X1_B19:A03`: what stands before the last colon."""
    return pd.Series(profile_ids, dtype=object).str.extract(r"^(.*):[^:]*$", expand=False).to_numpy()


def compute_apc(level4, genes, members, signatures, n_null, rng, folder, within="cell_iname"):
    """APC of every signature, from its level 4 replicates, in one pass over the file.

    level4: an open Matrix. genes: positions of the genes to correlate over. members: DataFrame
    `sig_id, profile_id, cut` (tables.explode_replicates). signatures: DataFrame indexed by sig_id with
    `cell_iname` and `pert_id`. n_null: groups of non-replicates drawn per number of replicates, by rng, a numpy
    Generator; within: of one "cell_iname" or of one "plate". folder: where the ranks of the replicates lie meanwhile
    (2 bytes a gene).

    Returns (apc, lost). apc: DataFrame `sig_id, n_replicates, apc, apc_null_p, apc_fdr, reason, spearman_q75` in the
    order of `signatures`; n_replicates counts the usable ones; spearman_q75 is the 75th percentile of the Spearman
    correlations of pairs; reason says why there is no APC, else is "". lost: DataFrame `sig_id, profile_id, reason` of
    the replicates that could not be used.
    """
    members = members[members["sig_id"].isin(signatures.index)]
    row = pd.Index(level4.profile_ids).get_indexer(members["profile_id"])
    group = signatures.index.get_indexer(members["sig_id"])
    found = row >= 0
    if len(found) and not found.any():
        first = members["profile_id"].iloc[0]
        problem = f"none of the {len(found):,} replicates that siginfo names is in it, the first of them is {first!r}"
        raise level4.error(problem, "give level 4 and siginfo of one release")
    n_named = np.bincount(group, minlength=len(signatures))
    n_found = np.bincount(group[found], minlength=len(signatures))

    stratum = plates_of(members["profile_id"]) if within == "plate" else _known(signatures[within])[group]
    sizes = range(2, min(n_found.max(initial=0), LARGEST) + 1)  # unusable profiles make groups smaller
    null = draw_null_groups(row[found], stratum[found], _known(signatures["pert_id"])[group[found]], sizes, n_null, rng)

    # Only signatures of several replicates need a sum; single ones are looked at. The null groups are groups like any
    # other, behind them: one pass serves all.
    several = np.flatnonzero(n_found >= 2)
    place = np.full(len(signatures), -1)
    place[several] = np.arange(len(several))
    used = found & (place[group] >= 0)
    order = np.argsort(place[group[used]], kind="stable")
    own_row, own_group = row[used][order], place[group[used]][order]
    single = row[found & (place[group] < 0)]
    looked_at = np.append(own_row, single), np.append(own_group, np.full(len(single), -1))
    rows, groups, n_groups, null_groups = _with_null(*looked_at, len(several), null)
    with ScratchRows(folder, (len(own_row), len(genes)), rank_dtype(len(genes))) as ranks:
        blocks = _keeping_ranks(_measured(level4.blocks(genes, np.unique(rows))), own_row, ranks)
        sums = GroupSums(blocks, rows, groups, n_groups, len(genes))
        usable = ~np.isin(own_row, [*sums.constant, *sums.not_finite])
        q75 = spearman_quantile(ranks, own_group, usable, len(several), QUANTILE)
    values = sums.means()

    constant, not_finite = np.isin(row, sums.constant), np.isin(row, sums.not_finite)
    n_used = np.bincount(group[found & ~constant & ~not_finite], minlength=len(signatures))
    apc, spearman = np.full(len(signatures), np.nan), np.full(len(signatures), np.nan)
    apc[several], spearman[several] = values[: len(several)], q75
    p = null_p(apc, n_used, {size: values[g] for size, g in null_groups.items()})

    has_not_finite = np.bincount(group[not_finite], minlength=len(signatures)) > 0
    reason = np.select(
        [~np.isnan(apc), n_named == 0, n_found < np.minimum(n_named, 2), n_named == 1, has_not_finite],
        ["", UNKNOWN, MISSING, SINGLE, NOT_USABLE],
        default=CONSTANT,
    )
    table = {"sig_id": signatures.index.to_numpy(), "n_replicates": n_used, "apc": apc}
    table |= {"apc_null_p": p, "apc_fdr": false_discovery(p), "reason": reason, "spearman_q75": spearman}
    why = np.select([~found & members["cut"], ~found, constant, not_finite], [CUT, MISSING, CONSTANT, NOT_USABLE], "")
    lost = members[["sig_id", "profile_id"]].assign(reason=why)
    return pd.DataFrame(table), lost[lost["reason"] != ""].reset_index(drop=True)


def _known(column):
    return column.astype(object).replace("", np.nan).to_numpy()


def _with_null(row, group, n_groups, null):
    """Members (profile, group) of the groups and the null ones behind them, how many all are, the null ones by size."""
    rows, groups, null_groups = [row], [group], {}
    for size, drawn in null.items():
        null_groups[size] = np.arange(n_groups, n_groups + len(drawn))
        rows.append(drawn.ravel())
        groups.append(np.repeat(null_groups[size], size))
        n_groups += len(drawn)
    return np.concatenate(rows), np.concatenate(groups), n_groups, null_groups


def _measured(blocks):
    """Pass blocks on, with NaN where nothing was measured."""
    for positions, values in blocks:
        missing = values == MISSING_NUMBER
        yield positions, np.where(missing, np.nan, values) if missing.any() else values  # most blocks need no copy


def _keeping_ranks(blocks, row, ranks):
    """Pass blocks on, and write the ranks of the members among them; row: the profile of each row of `ranks`."""
    order = np.argsort(row, kind="stable")
    ordered = row[order]
    progress = Progress("reading replicates", len(row))
    for positions, values in blocks:
        first, last = np.searchsorted(ordered, [positions[0], positions[-1] + 1])
        places = order[first:last]
        local = np.searchsorted(positions, row[places])
        members, which = np.unique(local, return_inverse=True)  # a profile may be a replicate of several signatures
        ranks.write(places, doubled_ranks(values[members])[which])
        yield positions, values
        progress.advance(len(places))


def compare_q75(ours, theirs):
    """How our spearman_q75 compares with the `cc_q75` of siginfo, in words; "" where no signature has both."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return ""
    difference = np.abs(ours - theirs)[both]
    alike = (difference <= 0.01).mean()
    return (
        f"The 75th percentile of the replicates' Spearman correlations differs from siginfo's cc_q75 by "
        f"{np.median(difference):.3f} (median of {both.sum():,} signatures), in {alike:.1%} by at most .01"
    )


def compute_replicate_apc(compendium, obs, n_null, rng, within="cell_iname"):
    """APC of every single replicate: its mean Pearson correlation with its siblings, in two passes over the file.

    compendium: an open Matrix of single replicates. obs: DataFrame, a row per profile in file order, with `sig_id`
    (the signature that it is a replicate of, "" if unknown), `cell_iname`, `pert_id`. n_null, rng, within: as for
    compute_apc; the null is how members of groups of non-replicates correlate with the others of their group.

    Returns (apc, lost). apc: DataFrame `profile_id, sig_id, n_replicates, apc, apc_null_p, apc_fdr, reason`, rows as in
    obs; n_replicates counts the usable replicates of the signature. lost: as of compute_apc.
    """
    n = len(obs)
    group, names = pd.factorize(_known(obs["sig_id"]))
    size = np.bincount(group[group >= 0], minlength=len(names))
    own = np.flatnonzero(group >= 0)
    stratum = plates_of(obs.index) if within == "plate" else _known(obs[within])
    sizes = range(2, min(size.max(initial=0), LARGEST) + 1)
    null = draw_null_groups(np.arange(n), stratum, _known(obs["pert_id"]), sizes, n_null, rng)
    n_several = int((size >= 2).sum())
    place = np.where(size >= 2, np.cumsum(size >= 2) - 1, -1)[group[own]]  # single ones need no sum
    rows, groups, n_groups, null_groups = _with_null(own, place, n_several, null)
    genes = np.arange(compendium.shape[1])
    sums = GroupSums(compendium.blocks(genes, np.unique(rows)), rows, groups, n_groups, len(genes))
    where, position, correlation = sums.with_siblings(compendium.blocks(genes, np.unique(rows)))

    apc, n_used = np.full(n, np.nan), np.zeros(n, int)
    real = where < n_several
    apc[position[real]] = correlation[real]
    unusable = np.isin(np.arange(n), sums.constant), np.isin(np.arange(n), sums.not_finite)
    n_used[own] = np.bincount(group[own], ~np.logical_or(*unusable)[own], len(names))[group[own]]
    p = null_p(apc, n_used, {size: correlation[np.isin(where, g)] for size, g in null_groups.items()})
    single = ~obs["sig_id"].duplicated(keep=False).to_numpy()
    reason = np.select(
        [~np.isnan(apc), group < 0, *unusable, single],
        ["", NO_SIGNATURE, CONSTANT, NOT_USABLE, SINGLE],
        default=NO_SIBLING,
    )
    table = {"profile_id": obs.index.to_numpy(), "sig_id": obs["sig_id"].astype(str).to_numpy(), "n_replicates": n_used}
    table |= {"apc": apc, "apc_null_p": p, "apc_fdr": false_discovery(p), "reason": reason}
    found = pd.DataFrame(table)
    lost = found.loc[found["reason"].isin([CONSTANT, NOT_USABLE]), ["sig_id", "profile_id", "reason"]]
    return found, lost.reset_index(drop=True)


def absent_replicates(members, known):
    """The replicates that siginfo names and no other file: as `lost` of compute_apc.

    members: DataFrame `sig_id, profile_id, cut`, as for compute_apc. known: ids of the profiles that are used or in
    the ledger.
    """
    absent = members[~members["profile_id"].isin(known)]
    return absent[["sig_id", "profile_id"]].assign(reason=np.where(absent["cut"], CUT, MISSING))
