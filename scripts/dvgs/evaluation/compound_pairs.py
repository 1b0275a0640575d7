"""Are compounds that share a label more similar than compounds that share none?

Pairs are not independent, because a compound is in many of them. So whole compounds are resampled: a pair of compounds
that were drawn n_i and n_j times counts n_i n_j times. Two copies of one compound are not a pair: the vertex bootstrap
of Snijders and Borgatti (1999, Connections 22(2):161) fills them in, here they are left out. Intervals show the spread
over other compounds with the same labels. They are somewhat too wide, because the number of compounds of every label
also changes from draw to draw. For p values, compounds exchange their labels, all labels of a compound together. Then
the numbers of pairs and of compounds of every label do not change.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dvgs.statistics import percentile_interval, share_below

TOLERANCE = 1e-12  # sums of the same numbers in another order differ by less


def share_label(compounds: Sequence[str], pairs: pd.DataFrame) -> np.ndarray:
    """Which compounds share a label, (n, n) bool, symmetric, false on the diagonal.

    compounds: n ids. pairs: DataFrame whose first two columns are compound and label, rows in any order; ids that
    are not among the compounds are ignored.
    """
    position = dict(zip(compounds, range(len(compounds)), strict=True))
    shares = np.zeros((len(compounds), len(compounds)), bool)
    row = pairs.iloc[:, 0].map(position)
    known = row.notna()
    for rows in row[known].astype(int).groupby(pairs.iloc[:, 1][known]).unique():
        shares[np.ix_(rows, rows)] = True
    np.fill_diagonal(shares, False)
    return shares


def cosine_of_pairs(embedding: np.ndarray) -> np.ndarray:
    """Cosine similarity of all rows of an embedding (n, d), (n, n) float64.

    Every dimension is first centred and scaled over the n rows, as published: otherwise every pair would be similar,
    because of what all rows have in common. A row of length 0 has cosine 0 with all others.
    """
    z = np.asarray(embedding, np.float64)
    z = z - z.mean(axis=0)
    spread = z.std(axis=0)
    z /= np.where(spread > 0, spread, 1)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    z /= np.where(length > 0, length, 1)
    return z @ z.T


def draw_counts(n: int, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n compounds counts, (1 + n_bootstrap, n): once in the first row, at random in the others."""
    return np.vstack([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), n_bootstrap)])


def draw_exchanges(n: int, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Permutations of n compounds, (1 + n_permutations, n); the first leaves every compound in its place."""
    places = np.tile(np.arange(n), (1 + n_permutations, 1))
    places[1:] = rng.permuted(places[1:], axis=1)
    return places


def contrast(
    similarity: np.ndarray, shares: np.ndarray, counts: np.ndarray, exchanges: np.ndarray
) -> dict[str, np.ndarray]:
    """Pairs that share a label against all other pairs.

    similarity: (n, n), symmetric. shares: (n, n) bool, from share_label, with pairs of both kinds. counts, exchanges:
    from draw_counts and draw_exchanges. Returns a dict of arrays whose first number is the estimate: `same`, `random`
    (mean similarities), `difference` and `auroc`, (1 + n_bootstrap,), and `exchanged`, (1 + n_permutations,), the mean
    similarity of pairs that share a label after the exchange. Bootstrap numbers are NaN where a draw has no pair of a
    kind. Those of the AUROC are first-order (placements, as in DeLong 1988, are not ranked again in every draw).
    """
    others = ~shares
    np.fill_diagonal(others, False)
    placed = np.zeros_like(similarity)
    placed[shares] = share_below(similarity[shares], similarity[others])
    placed[others] = 1 - share_below(similarity[others], similarity[shares])

    def mean(values, where):
        total, n = (((counts @ np.where(where, each, 0)) * counts).sum(axis=1) for each in (values, 1.0))
        with np.errstate(invalid="ignore"):
            return total / n

    same, random = mean(similarity, shares), mean(similarity, others)
    auroc = mean(placed, shares) + mean(placed, others) - placed[shares].mean()
    left, right = np.nonzero(np.triu(shares))
    exchanged = np.array([similarity[place[left], place[right]].mean() for place in exchanges])
    return {"same": same, "random": random, "difference": same - random, "auroc": auroc, "exchanged": exchanged}


def describe(name: str, numbers: np.ndarray) -> dict[str, float]:
    """An estimate (the first of the numbers) and its 95 % percentile interval: dict `name, name_low, name_high`."""
    low, high = percentile_interval(numbers[None, 1:])
    return {name: numbers[0], f"{name}_low": low[0], f"{name}_high": high[0]}


def p_value(exchanged: np.ndarray) -> float:
    """One-sided p: the share of exchanges in which pairs that share a label are at least as similar as they really are.

    exchanged: (1 + n_permutations,), from contrast; the first, with the real labels, counts as well.
    """
    return (exchanged >= exchanged[0] - TOLERANCE).mean()
