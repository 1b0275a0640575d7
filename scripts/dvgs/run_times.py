"""Quality against time: every method of every study, valuation alone."""

import numpy as np
import pandas as pd

from dvgs.study_tables import over_replicates

REFERENCE = "dvgs"


def compare(detection, seconds):
    """Methods over their n replicates: AUROC, seconds, and the ratio of seconds to those of DVGS.

    DataFrame `study, method, n, auroc, auroc_low, auroc_high, n_seconds, seconds, ratio, ratio_low, ratio_high`.
    detection, seconds: the tables of the studies, with a column `study`. Seconds are geometric means, as are ratios
    of them to those of DVGS in the same replicate, both over the n_seconds replicates of which they are known;
    intervals are 95 % by a t distribution.
    """
    keys = ["study", "method", "replicate"]
    table = detection[[*keys, "auroc"]].merge(seconds[[*keys, "seconds"]], "left", keys, validate="one_to_one")
    reference = table.loc[table["method"] == REFERENCE, ["study", "replicate", "seconds"]]
    table = table.merge(reference, on=["study", "replicate"], how="left", suffixes=("", "_reference"))
    table["ratio"] = np.log(table["seconds"] / table["seconds_reference"])
    table["seconds"] = np.log(table["seconds"])
    long = over_replicates(table, ["study", "method"], ["auroc", "seconds", "ratio"]).set_index(["study", "method"])
    auroc, time, ratio = (long[long["measure"] == name] for name in ("auroc", "seconds", "ratio"))
    found = {"n": auroc["n"], "auroc": auroc["mean"], "auroc_low": auroc["low"], "auroc_high": auroc["high"]}
    found |= {"n_seconds": time["n"], "seconds": np.exp(time["mean"])}
    found |= {"ratio": np.exp(ratio["mean"]), "ratio_low": np.exp(ratio["low"]), "ratio_high": np.exp(ratio["high"])}
    return pd.DataFrame(found).reset_index()
