"""Value one shard of the profiles: the source along the first trajectory, the others along the second.

Some source profiles are valued along the second, too; their role there is "calibration".
"""

import numpy as np
import pandas as pd

from dvgs.files import write_parquet
from dvgs.jobs import job
from dvgs.models import pick_device
from dvgs.profiles import Profiles
from dvgs.splits import calibration_rows, valued_rows
from dvgs.trajectory import Trajectory
from dvgs.valuation import plan_shard, score


def main(input, output, shard, n_shards, device):
    device = pick_device(device)
    split = pd.read_parquet(input.split)
    parts = []
    with Profiles(input.signatures, pd.read_parquet(input.scaling)) as profiles:
        for draw, path in (("first", input.first), ("second", input.second)):
            rows = valued_rows(split, draw)
            if draw == "second":
                rows = np.sort(np.concatenate([rows, calibration_rows(split)]))
            start, stop = plan_shard(len(rows), shard, n_shards)
            rows = rows[start:stop]
            with Trajectory(path, device) as trajectory:
                values = score(trajectory, lambda a, b, rows=rows: profiles.rows(rows[a:b]), len(rows), device=device)
            who = split.iloc[rows][["profile_id", "role"]].reset_index(drop=True)
            if draw == "second":
                who["role"] = who["role"].replace("source", "calibration")
            parts.append(pd.concat([who, values], axis=1))
    write_parquet(output.values, pd.concat(parts, ignore_index=True))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, int(snakemake.wildcards.shard), **snakemake.params)
