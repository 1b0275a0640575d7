"""Trace one replicate of the filter curves of every method."""

import numpy as np
import pandas as pd
import torch

from dvgs.curves import trace_curve
from dvgs.files import write_csv
from dvgs.jobs import job
from dvgs.models import pick_device
from dvgs.profiles import Profiles
from dvgs.seeds import derive_seed, generator


def main(input, output, wildcards, similarity, methods, quantiles, training, model, device, seed):
    device = pick_device(device)
    values = pd.read_parquet(input.values)
    with Profiles(input.signatures, pd.read_parquet(input.scaling)) as profiles:
        x = {
            role: torch.from_numpy(profiles.rows(np.flatnonzero(values["role"] == role))).to(device)
            for role in ("source", "validation", "test")
        }
    table = pd.read_parquet(input.baselines).assign(dvgs=values[similarity])[methods]
    replicate = int(wildcards.replicate)
    draw = ("curve", wildcards.target, replicate)
    table["random"] = generator(seed, *draw, "random").random(len(table))  # lots are drawn anew in every replicate
    curve = trace_curve(
        x["source"],
        x["validation"],
        x["test"],
        table[(values["role"] == "source").to_numpy()].reset_index(drop=True),
        quantiles=quantiles,
        replicate=replicate,
        model=model,
        **training,
        seed=derive_seed(seed, *draw),
    )
    write_csv(output.curve, curve)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
