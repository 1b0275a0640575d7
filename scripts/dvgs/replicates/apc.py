"""Replicate agreement (APC): of signatures, from their level 4 replicates, and of single replicates."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.compendium.ledger import NOT_USABLE
from dvgs.io.matrix import Matrix
from dvgs.io.rows import Rows, ScratchRows
from dvgs.io.tables import MISSING_NUMBER
from dvgs.progress import Progress
from dvgs.replicates.correlation import Blocks, GroupSums, doubled_ranks, rank_dtype, spearman_quantile
from dvgs.replicates.memberships import NOWHERE, Memberships
from dvgs.replicates.null import LARGEST, draw_null_groups, false_discovery, null_p

SINGLE = "single replicate"
NO_SIBLING = "no other replicate is usable"
MISSING = "replicate missing from the file"
CONSTANT = "constant profile"
CUT = "list of replicates cut off in siginfo"
UNKNOWN = "no replicates named"
NO_SIGNATURE = "replicate of no signature"
QUANTILE = 0.75  # of the Spearman correlations of replicates, as in CMap's cc_q75


def plates_of(profile_ids: pd.Series | pd.Index | list) -> np.ndarray:
    """The plate in profile ids such as `LJP005_A375_24H_X1_B19:A03`: what stands before the last colon."""
    return pd.Series(profile_ids, dtype=object).str.extract(r"^(.*):[^:]*$", expand=False).to_numpy()


def compute_apc(
    level4: Matrix,
    genes: np.ndarray,
    members: pd.DataFrame,
    signatures: pd.DataFrame,
    n_null: int,
    rng: np.random.Generator,
    folder: str | Path,
    within: str = "cell_iname",
) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    named = _memberships(level4, members, signatures.index)
    there = named.row != NOWHERE
    found = named.where(there)
    stratum = plates_of(members["profile_id"]) if within == "plate" else _known(signatures[within])[named.group]
    perturbagen = _known(signatures["pert_id"])[found.group]
    null = draw_null_groups(found.row, stratum[there], perturbagen, _null_sizes(found), n_null, rng)
    replicates = found.to_correlate()
    summed, null_groups = replicates.with_null(null)
    sums, q75 = _sums_and_quantiles(level4, genes, replicates.grouped, summed, folder)

    means, several = sums.means(), found.groups_of_several()
    apc, spearman = np.full(len(signatures), np.nan), np.full(len(signatures), np.nan)
    apc[several], spearman[several] = means[: len(several)], q75
    constant, not_finite = named.are(sums.constant), named.are(sums.not_finite)
    n_used = named.where(there & ~constant & ~not_finite).counts()
    p = null_p(apc, n_used, {size: means[groups] for size, groups in null_groups.items()})
    reason = _reasons(apc, named.counts(), found.counts(), named.where(not_finite).counts() > 0)
    table = {"sig_id": signatures.index.to_numpy(), "n_replicates": n_used, "apc": apc}
    table |= {"apc_null_p": p, "apc_fdr": false_discovery(p), "reason": reason, "spearman_q75": spearman}
    why = np.select([~there & members["cut"], ~there, constant, not_finite], [CUT, MISSING, CONSTANT, NOT_USABLE], "")
    lost = members[["sig_id", "profile_id"]].assign(reason=why)
    return pd.DataFrame(table), lost[lost["reason"] != ""].reset_index(drop=True)


def _memberships(level4: Matrix, members: pd.DataFrame, sig_ids: pd.Index) -> Memberships:
    """A membership for each row of members, a group for each signature; InputError if level 4 has no replicate."""
    row = pd.Index(level4.profile_ids).get_indexer(members["profile_id"])
    if len(row) and (row == NOWHERE).all():
        first = members["profile_id"].iloc[0]
        problem = f"none of the {len(row):,} replicates that siginfo names is in it, the first of them is {first!r}"
        raise level4.error(problem, "give level 4 and siginfo of one release")
    return Memberships(row, sig_ids.get_indexer(members["sig_id"]), len(sig_ids))


def _null_sizes(members: Memberships) -> range:
    """The numbers of replicates that need a null: all up to the largest, as unusable ones make groups smaller."""
    return range(2, min(members.counts().max(initial=0), LARGEST) + 1)


def _sums_and_quantiles(
    level4: Matrix, genes: np.ndarray, replicates: Memberships, summed: Memberships, folder: str | Path
) -> tuple[GroupSums, np.ndarray]:
    """One pass over level 4: sums over all groups, and the quantile of the correlations within those of replicates."""
    with ScratchRows(folder, (len(replicates), len(genes)), rank_dtype(len(genes))) as ranks:
        blocks = _keeping_ranks(_measured(level4.blocks(genes, np.unique(summed.row))), replicates.row, ranks)
        sums = GroupSums(blocks, summed.row, summed.group, summed.n_groups, len(genes))
        usable = ~replicates.are([*sums.constant, *sums.not_finite])
        return sums, spearman_quantile(ranks, replicates.group, usable, replicates.n_groups, QUANTILE)


def _reasons(apc: np.ndarray, n_named: np.ndarray, n_found: np.ndarray, has_not_finite: np.ndarray) -> np.ndarray:
    """Why signatures have no APC, "" for those that have one."""
    return np.select(
        [~np.isnan(apc), n_named == 0, n_found < np.minimum(n_named, 2), n_named == 1, has_not_finite],
        ["", UNKNOWN, MISSING, SINGLE, NOT_USABLE],
        default=CONSTANT,
    )


def _known(column: pd.Series) -> np.ndarray:
    return column.astype(object).replace("", np.nan).to_numpy()


def _measured(blocks: Blocks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pass blocks on, with NaN where nothing was measured."""
    for positions, values in blocks:
        missing = values == MISSING_NUMBER
        yield positions, np.where(missing, np.nan, values) if missing.any() else values  # most blocks need no copy


def _keeping_ranks(blocks: Blocks, row: np.ndarray, ranks: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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


def compute_replicate_apc(
    compendium: Matrix, obs: pd.DataFrame, n_null: int, rng: np.random.Generator, within: str = "cell_iname"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """APC of every single replicate: its mean Pearson correlation with its siblings, in two passes over the file.

    compendium: an open Matrix of single replicates. obs: DataFrame, a row per profile in file order, with `sig_id`
    (the signature that it is a replicate of, "" if unknown), `cell_iname`, `pert_id`. n_null, rng, within: as for
    compute_apc; the null is how members of groups of non-replicates correlate with the others of their group.

    Returns (apc, lost). apc: DataFrame `profile_id, sig_id, n_replicates, apc, apc_null_p, apc_fdr, reason`, rows as in
    obs; n_replicates counts the usable replicates of the signature. lost: as of compute_apc.
    """
    group, names = pd.factorize(_known(obs["sig_id"]))
    every = Memberships(np.arange(len(obs)), group, len(names))
    stratum = plates_of(obs.index) if within == "plate" else _known(obs[within])
    null = draw_null_groups(every.row, stratum, _known(obs["pert_id"]), _null_sizes(every), n_null, rng)
    replicates = every.grouped.to_correlate()
    summed, null_groups = replicates.with_null(null)
    sums, (where, position, correlation) = _sums_and_siblings(compendium, summed)

    real = where < replicates.n_groups
    apc = np.full(len(obs), np.nan)
    apc[position[real]] = correlation[real]
    constant, not_finite = every.are(sums.constant), every.are(sums.not_finite)
    usable = every.where(~constant & ~not_finite).counts()
    n_used = np.where(group == NOWHERE, 0, np.append(usable, 0)[group])
    p = null_p(apc, n_used, {size: correlation[np.isin(where, groups)] for size, groups in null_groups.items()})
    single = ~obs["sig_id"].duplicated(keep=False).to_numpy()
    reason = np.select(
        [~np.isnan(apc), group == NOWHERE, constant, not_finite, single],
        ["", NO_SIGNATURE, CONSTANT, NOT_USABLE, SINGLE],
        default=NO_SIBLING,
    )
    table = {"profile_id": obs.index.to_numpy(), "sig_id": obs["sig_id"].astype(str).to_numpy(), "n_replicates": n_used}
    table |= {"apc": apc, "apc_null_p": p, "apc_fdr": false_discovery(p), "reason": reason}
    found = pd.DataFrame(table)
    lost = found.loc[found["reason"].isin([CONSTANT, NOT_USABLE]), ["sig_id", "profile_id", "reason"]]
    return found, lost.reset_index(drop=True)


def _sums_and_siblings(
    compendium: Matrix, summed: Memberships
) -> tuple[GroupSums, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Two passes: sums over all groups, and (group, position, correlation) of their members (with_siblings)."""
    genes, wanted = np.arange(compendium.shape[1]), np.unique(summed.row)
    sums = GroupSums(compendium.blocks(genes, wanted), summed.row, summed.group, summed.n_groups, len(genes))
    return sums, sums.with_siblings(compendium.blocks(genes, wanted))


def absent_replicates(members: pd.DataFrame, known: pd.Index) -> pd.DataFrame:
    """The replicates that siginfo names and no other file: as `lost` of compute_apc.

    members: DataFrame `sig_id, profile_id, cut`, as for compute_apc. known: ids of the profiles that are used or in
    the ledger.
    """
    absent = members[~members["profile_id"].isin(known)]
    return absent[["sig_id", "profile_id"]].assign(reason=np.where(absent["cut"], CUT, MISSING))


def compare_q75(ours: np.ndarray, theirs: np.ndarray) -> str:
    """How our spearman_q75 compares with the `cc_q75` of siginfo, in words; "" where no signature has both."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return ""
    difference = np.abs(ours - theirs)[both]
    near = (difference <= 0.01).mean()
    return (
        f"The 75th percentile of the replicates' Spearman correlations differs from siginfo's cc_q75 by "
        f"{np.median(difference):.3f} (median of {both.sum():,} signatures), in {100 * near:.1f} % by at most 0.01"
    )
