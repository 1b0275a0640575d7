"""Value one shard of the profiles: the source along the first trajectory, the others along the second.

Some source profiles are valued along the second too; their role there is "calibration".
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import calibration_rows, valued_rows
from dvgs.devices import pick_device
from dvgs.io.files import write_parquet
from dvgs.training.models import reconstruction_loss
from dvgs.valuation.scoring import ScoreSettings, score
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory
from dvgs.workflow.job import job


def main(input, output, shard, n_shards, precision, device):
    split = pd.read_parquet(input.split)
    work = Path(output.values).with_name(f".{shard}.work")  # after a kill the job finds its finished blocks there
    found = []
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    for draw, path in (("first", input.first), ("second", input.second)):
        rows = valued_rows(split, draw)
        if draw == "second":
            rows = np.sort(np.concatenate([rows, calibration_rows(split)]))
        own = Shard.of(len(rows), shard, n_shards)

        def read(first, last, rows=rows):
            x = profiles.tensor(rows[first:last], "cpu")
            return x, x

        with Trajectory(path, device=pick_device(device)) as trajectory:
            settings = ScoreSettings(precision=precision)
            values = score(trajectory, reconstruction_loss, read, own, settings, work / draw)
        table = split.iloc[rows[own.start : own.stop]][["profile_id", "role"]].reset_index(drop=True)
        if draw == "second":
            table["role"] = table["role"].replace("source", "calibration")
        found.append(pd.concat([table, values], axis=1))
    write_parquet(output.values, pd.concat(found, ignore_index=True))
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, int(snakemake.wildcards.shard), **snakemake.params)
