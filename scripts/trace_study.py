"""Trace the filter curves of all methods in one replicate of a study."""

import numpy as np
import pandas as pd
import torch

from dvgs.devices import pick_device
from dvgs.filtering.curves import CurveSettings, trace_study
from dvgs.io.files import write_csv
from dvgs.methods import random
from dvgs.studies.experiment import make_task, seed_of
from dvgs.workflow.job import job


def main(input, output, wildcards, methods, model, curves, seed, device):
    drawn, device = np.load(input.drawn), pick_device(device)
    seed = seed_of(seed, wildcards.study, wildcards.replicate)
    task = make_task(drawn, **model, seed=seed, device=device)
    test = [torch.from_numpy(drawn[name]).to(device) for name in ("test_x", "test_y")]
    columns = [pd.read_parquet(path)["value"] for path in input.values]
    values = pd.DataFrame(dict(zip(methods, columns, strict=True)))
    values["random"] = random.value(task)  # the control is always there
    curve = trace_study(task, test, values, CurveSettings.from_config(**curves))
    write_csv(output.curves, curve.assign(replicate=int(wildcards.replicate)))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
