"""How the time of DVGS grows with the source and falls with `every`, and how its values change."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dvgs.methods.dvgs import value_by_similarities
from dvgs.statistics import auroc
from dvgs.studies.summaries import over_replicates


def measure(make_task: Callable, sizes: list[int], every: list[int], training: dict[str, Any]) -> pd.DataFrame:
    """Seconds and AUROC: DataFrame `source, every, seconds, auroc`.

    make_task(size): a Task with `size` samples in the source, and (size,) bool, which are corrupted. training: settings
    of value_by_similarities. A short valuation comes first, to warm up; it is not in the table.
    """
    task, _ = make_task(min(sizes))
    value_by_similarities(task, True, **training | {"epochs": 3})
    rows = []
    for size in sizes:
        task, corrupted = make_task(size)
        for steps in every:
            started = time.perf_counter()
            table = value_by_similarities(task, True, **training, every=steps)
            seconds = time.perf_counter() - started
            area, _, _ = auroc(table["cosine"].to_numpy(), corrupted)
            rows.append({"source": size, "every": steps, "seconds": seconds, "auroc": area})
    return pd.DataFrame(rows)


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """How time grows, by `every`: DataFrame `every, slope, slope_large, seconds, speedup`.

    All are from medians over replicates, because other work of the machine disturbs some. table: from `measure`, with a
    column `replicate`. slope: of log seconds against log source, by least squares. slope_large: the same between the
    two largest sources, where the training on the target, which always takes the same time, matters least. seconds: of
    the largest source. speedup: seconds with the first `every` / seconds.
    """
    seconds = table.groupby(["every", "source"], sort=False)["seconds"].median().unstack()
    x, y = np.log(seconds.columns.to_numpy(float)), np.log(seconds)
    found = pd.DataFrame({"every": seconds.index, "slope": [np.polyfit(x, row, 1)[0] for row in y.to_numpy()]})
    found["slope_large"] = np.diff(y.to_numpy()[:, -2:])[:, 0] / np.diff(x[-2:])
    found["seconds"] = seconds.iloc[:, -1].to_numpy()
    found["speedup"] = found["seconds"].iloc[0] / found["seconds"]
    return found


def quality(table: pd.DataFrame) -> pd.DataFrame:
    """AUROC by `every`: each replicate is averaged over its sources; mean, sd and 95 % interval are over replicates.

    DataFrame `every, measure, n, mean, sd, low, high`; measure is `auroc`, or `difference`: the AUROC minus that of the
    first `every` in the same replicate.
    """
    means = table.groupby(["every", "replicate"], sort=False)["auroc"].mean().unstack()
    long = pd.DataFrame({"auroc": means.stack(), "difference": (means - means.iloc[0]).stack()}).reset_index()
    return over_replicates(long, ["every"], ["auroc", "difference"])
