from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity

from dvgs.evaluation.compound_pairs import (
    contrast,
    cosine_of_pairs,
    describe,
    draw_counts,
    draw_exchanges,
    p_value,
    share_label,
)

IDS = [f"c{i}" for i in range(30)]


def annotate(rng, n_labels=6):
    """Compounds with none, one or two labels."""
    rows = [(c, f"t{t}") for c in IDS for t in rng.choice(n_labels, rng.integers(3), replace=False)]
    return pd.DataFrame(rows, columns=["pert_id", "target"])


def embed(rng, n_labels, pairs, strength, d=8):
    """Embeddings (30, d) to which every label of a compound adds a direction of the label."""
    directions = rng.normal(size=(n_labels, d))
    z = rng.normal(size=(len(IDS), d))
    for row in pairs.itertuples():
        z[IDS.index(row.pert_id)] += strength * directions[int(row.target[1:])]
    return z


def split(similarity, shares):
    """The similarities of pairs that share and of those that do not, pair by pair."""
    pairs = list(combinations(range(len(shares)), 2))
    return tuple([similarity[i, j] for i, j in pairs if shares[i, j] == kind] for kind in (True, False))


def test_sharing_is_found_pair_by_pair_whatever_the_order(rng):
    pairs = annotate(rng)
    shares = share_label(IDS, pd.concat([pairs, pd.DataFrame([("stranger", "t1")], columns=pairs.columns)]))
    of = {c: set(pairs.loc[pairs["pert_id"] == c, "target"]) for c in IDS}
    expected = [[i != j and bool(of[i] & of[j]) for j in IDS] for i in IDS]
    assert shares.tolist() == expected and shares.any()
    order = rng.permutation(30)
    again = share_label([IDS[i] for i in order], pairs.sample(frac=1, random_state=1))
    assert (again == shares[np.ix_(order, order)]).all()


def test_sharing_with_no_compound_or_no_label(rng):
    assert share_label([], annotate(rng)).shape == (0, 0)
    assert not share_label(IDS, annotate(rng).head(0)).any()


def test_cosine_is_that_of_scikit_learn(rng):
    z = rng.normal(size=(9, 4)) * [1, 5, 0, 3] + 7
    z = z.astype(np.float32).astype(np.float64)
    scaled = (z - z.mean(0)) / [*z.std(0)[:2], 1, z.std(0)[3]]
    np.testing.assert_allclose(cosine_of_pairs(z), cosine_similarity(scaled), atol=1e-12)
    assert (cosine_of_pairs(np.ones((3, 2))) == 0).all()


def test_contrast_is_that_of_all_pairs_one_by_one(rng):
    pairs = annotate(rng)
    shares = share_label(IDS, pairs)
    similarity = np.round(cosine_of_pairs(embed(rng, 6, pairs, 1.0)), 1)  # ties
    found = contrast(similarity, shares, draw_counts(30, 40, rng), draw_exchanges(30, 40, rng))
    same, others = split(similarity, shares)
    assert found["same"][0] == pytest.approx(np.mean(same)) and found["random"][0] == pytest.approx(np.mean(others))
    assert found["difference"][0] == pytest.approx(np.mean(same) - np.mean(others))
    labels = [1] * len(same) + [0] * len(others)
    assert found["auroc"][0] == pytest.approx(roc_auc_score(labels, same + others))


def test_resamples_count_every_pair_of_drawn_compounds(rng):
    pairs = annotate(rng)
    shares = share_label(IDS, pairs)
    similarity = cosine_of_pairs(embed(rng, 6, pairs, 1.0))
    counts, exchanges = draw_counts(30, 5, rng), draw_exchanges(30, 5, rng)
    assert (counts.sum(axis=1) == 30).all() and (np.sort(exchanges, axis=1) == np.arange(30)).all()
    found = contrast(similarity, shares, counts, exchanges)
    for b in range(6):
        drawn = np.repeat(np.arange(30), counts[b].astype(int))
        kinds = {True: [], False: []}
        for i, j in combinations(drawn, 2):
            if i != j:
                kinds[shares[i, j]].append(similarity[i, j])
        assert found["same"][b] == pytest.approx(np.mean(kinds[True]))
        assert found["random"][b] == pytest.approx(np.mean(kinds[False]))
        place = exchanges[b]
        relabelled = similarity[np.ix_(place, place)]
        assert found["exchanged"][b] == pytest.approx(np.mean(split(relabelled, shares)[0]))


def test_what_is_planted_is_found_and_what_is_not_is_not(rng):
    p = {0.0: [], 1.5: []}
    for strength, found in p.items():
        for _ in range(60):
            pairs = annotate(rng)
            shares, z = share_label(IDS, pairs), embed(rng, 6, pairs, strength)
            exchanges = draw_exchanges(30, 99, rng)
            found.append(p_value(contrast(cosine_of_pairs(z), shares, draw_counts(30, 1, rng), exchanges)["exchanged"]))
    assert np.mean(np.array(p[0.0]) <= 0.1) < 0.25 and 0.4 < np.mean(p[0.0]) < 0.6
    assert np.mean(np.array(p[1.5]) <= 0.02) > 0.9


def test_intervals_hold_what_other_compounds_would_have_given(rng):
    """One set of labels and directions, many draws of compounds; the truth is the mean over the draws."""
    pairs = annotate(rng)
    shares, planted = share_label(IDS, pairs), rng.normal(size=(6, 8))
    draws = []
    for _ in range(150):
        z = rng.normal(size=(30, 8))
        for row in pairs.itertuples():
            z[IDS.index(row.pert_id)] += planted[int(row.target[1:])]
        found = contrast(cosine_similarity(z), shares, draw_counts(30, 200, rng), draw_exchanges(30, 1, rng))
        draws.append(describe("d", found["difference"]) | describe("a", found["auroc"]))
    draws = pd.DataFrame(draws)
    for name in ("d", "a"):
        truth, low, high = draws[name].mean(), draws[f"{name}_low"], draws[f"{name}_high"]
        assert ((low <= truth) & (truth <= high)).mean() > 0.92
        assert (high - low).mean() < 1.7 * 2 * 1.96 * draws[name].std()  # wide, as labels are drawn too
