"""How much DVGS depends on its settings: every setting of a grid finds flipped labels once (arXiv 2405.08217).

The published grid has 2,304 settings on ADULT: the factors below and the four similarities. One training gives all four
similarities, so there are 576 trainings. All levels are published, some of them only in the authors' notebook: dropout
0, .25, .5, .75; target batch 100, 200, 400; learning rate 1e-2, 1e-3, 1e-4; 1 or 2 hidden layers of 100; Mish or ReLU;
100 epochs of one start. One thing differs here: features are scaled by the source alone.
"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from dvgs.columns import SIMILARITIES
from dvgs.methods.dvgs import value_by_similarities
from dvgs.methods.task import Task
from dvgs.progress import Progress
from dvgs.seeds import derive_seed
from dvgs.statistics import auroc, percentile_interval
from dvgs.training.mish import Mish
from dvgs.training.models import make_classifier

FACTORS = ("class_balance", "dropout", "batch_size", "learning_rate", "norm", "layers", "activation")  # of a training
ACTIVATIONS = {"mish": Mish, "relu": nn.ReLU}
NEAR = (0.1, 0.25)  # distances from the best, as shares of it


def trainings(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """All trainings of a grid (a dict, levels by factor): dicts of one level each, in the order of FACTORS."""
    return [dict(zip(FACTORS, levels, strict=True)) for levels in product(*(grid[factor] for factor in FACTORS))]


def find_by_grid(
    task: Task, corrupted: np.ndarray, chosen: list[dict[str, Any]], width: int, epochs: int
) -> pd.DataFrame:
    """AUROC of finding the corrupted: DataFrame of FACTORS, `similarity` and `auroc`, four rows a training.

    task: a Task of vectors and classes. corrupted: (n,) bool. chosen: trainings. width: of the hidden layers. Each
    training starts from its own weights, which do not depend on the other chosen trainings.
    """
    rows, progress = [], Progress("grid, trainings", len(chosen))
    for setting in chosen:
        own = replace(task, make_model=_maker(task, setting, width), seed=derive_seed(task.seed, *setting.values()))
        training = {"batch_size": setting["batch_size"], "lr": setting["learning_rate"], "epochs": epochs}
        table = value_by_similarities(own, setting["class_balance"], **training)
        for similarity in SIMILARITIES:
            area, _, _ = auroc(table[similarity].to_numpy(), corrupted)
            rows.append(setting | {"similarity": similarity, "auroc": area})
        progress.advance()
    return pd.DataFrame(rows)


def _maker(task, setting, width):
    n_features, hidden = task.source[0].shape[1], [width] * setting["layers"]
    options = {"dropout": setting["dropout"], "norm": setting["norm"], "activation": ACTIVATIONS[setting["activation"]]}
    return lambda start: make_classifier(n_features, hidden, task.n_classes, start, **options)


def effects(table: pd.DataFrame, grid: dict[str, Any], n_bootstrap: int, rng: np.random.Generator) -> pd.DataFrame:
    """Effect of each factor among all settings, those of each similarity, and the cosine at the first learning rate.

    table: that of find_by_grid for a whole grid. Returns a DataFrame `among, factor, level, n, mean, low, high, lowest,
    highest, difference, difference_low, difference_high`: mean and extremes of the AUROC at a level, and its mean
    difference from the first level of the factor at otherwise equal settings. Intervals are 95 %, by a bootstrap over
    those otherwise equal settings; the four similarities of one training are drawn together.
    """
    levels = {factor: grid[factor] for factor in FACTORS} | {"similarity": SIMILARITIES}
    rows = []
    for among, fixed, part in _parts(table, grid):
        for factor in (factor for factor in levels if factor not in fixed):
            others = [other for other in FACTORS if other != factor]
            equal = part.pivot_table("auroc", others, factor).reindex(columns=levels[factor]).to_numpy()
            drawn = rng.integers(len(equal), size=(n_bootstrap, len(equal)))
            means = np.stack([equal[rows].mean(axis=0) for rows in drawn])
            low, high = percentile_interval(means.T)
            difference_low, difference_high = percentile_interval((means - means[:, :1]).T)
            for k, level in enumerate(levels[factor]):
                single = part.loc[part[factor] == level, "auroc"]
                rows.append(
                    {
                        "among": among,
                        "factor": factor,
                        "level": str(level),
                        "n": len(single),
                        "mean": single.mean(),
                        "low": low[k],
                        "high": high[k],
                        "lowest": single.min(),
                        "highest": single.max(),
                        "difference": (equal[:, k] - equal[:, 0]).mean(),
                        "difference_low": difference_low[k],
                        "difference_high": difference_high[k],
                    }
                )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, grid: dict[str, Any]) -> pd.DataFrame:
    """How much the choice of settings matters, among the same settings as in `effects`.

    Returns a DataFrame `among, n, highest, median, mean, lowest, within_10, within_25, first`: the shares of settings
    whose AUROC is at most 10 and 25 % below the best of the whole grid, and the setting of all first levels.
    """
    best = table["auroc"].max()
    first = np.logical_and.reduce([table[factor] == grid[factor][0] for factor in FACTORS])
    rows = []
    for among, fixed, part in _parts(table, grid):
        area = part["auroc"]
        row = {"among": among, "n": len(area), "highest": area.max(), "median": area.median(), "mean": area.mean()}
        row |= {"lowest": area.min()}
        row |= {f"within_{round(100 * share)}": (area >= (1 - share) * best).mean() for share in NEAR}
        rows.append(row | {"first": area[first[part.index]].iloc[0] if fixed else np.nan})
    return pd.DataFrame(rows)


def _parts(table, grid):
    """Subsets of a grid: the name, the factors that have only one level there, and the rows."""
    yield "all", (), table
    for similarity in SIMILARITIES:
        yield similarity, ("similarity",), table[table["similarity"] == similarity]
    similarity, rate = SIMILARITIES[0], grid["learning_rate"][0]
    usual = (table["similarity"] == similarity) & (table["learning_rate"] == rate)
    yield f"{similarity} at {rate:g}", ("similarity", "learning_rate"), table[usual]
