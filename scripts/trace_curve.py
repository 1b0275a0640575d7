"""Trace replicates of the filter curves of every method."""

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.devices import pick_device
from dvgs.filtering.curves import trace_curve
from dvgs.io.files import write_csv
from dvgs.seeds import derive_seed, generator
from dvgs.workflow.job import job


def main(input, output, target, similarity, methods, quantiles, replicates, training, model, device, seed):
    device = pick_device(device)
    values = pd.read_parquet(input.values)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    source, *judges = (np.flatnonzero(values["role"] == role) for role in ("source", "validation", "test"))
    x = [profiles.for_training(source, device), *(profiles.tensor(rows, device) for rows in judges)]
    table = pd.read_parquet(input.baselines).assign(dvgs=values[similarity])[methods]
    table = table[(values["role"] == "source").to_numpy()].reset_index(drop=True)
    curves = []
    for replicate in replicates:
        draw = ("curve", target, replicate)
        table["random"] = generator(seed, *draw, "random").random(len(table))  # lots are drawn anew in every replicate
        curve = trace_curve(
            *x,
            table,
            quantiles=quantiles,
            replicate=replicate,
            model=model,
            **training,
            seed=derive_seed(seed, *draw),
        )
        curves.append(curve)
    write_csv(output.curves, pd.concat(curves, ignore_index=True))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
