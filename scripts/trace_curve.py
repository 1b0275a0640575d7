"""Trace replicates of the filter curves of every method."""

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.devices import pick_device
from dvgs.filtering.curves import CurveSettings, trace_curve
from dvgs.io.files import write_csv
from dvgs.seeds import derive_seed, generator
from dvgs.workflow.job import job


def main(input, output, target, similarity, methods, quantiles, replicates, training, model, device, seed):
    device = pick_device(device)
    values = pd.read_parquet(input.values)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    source, *others = (np.flatnonzero(values["role"] == role) for role in ("source", "validation", "test"))
    sets = profiles.for_training(source, device), *(profiles.tensor(rows, device) for rows in others)
    table = pd.read_parquet(input.baselines).assign(dvgs=values[similarity])[methods]
    table = table[(values["role"] == "source").to_numpy()].reset_index(drop=True)
    settings, curves = CurveSettings.from_config(quantiles, **training), []
    for replicate in replicates:
        draw = ("curve", target, replicate)
        table["random"] = generator(seed, *draw, "random").random(len(table))  # other random values in every replicate
        curves.append(trace_curve(sets, table, settings, model, replicate, derive_seed(seed, *draw)))
    write_csv(output.curves, pd.concat(curves, ignore_index=True))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
