"""How bench.py measures: functions in turn, and a line for each ratio."""

import time
from pathlib import Path

import numpy as np
import torch

REPEATS = 7


def seconds(runs, device, repeats=REPEATS):
    """Median seconds of each of several functions, called in turn after one round that is not counted."""
    taken = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for found, run in zip(taken, runs, strict=True):
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            if repeat:
                found.append(time.perf_counter() - start)
    return [float(np.median(found)) for found in taken]


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def line(what, figure, wanted=None, reached=None):
    verdict = "" if reached is None else "reached" if reached else "NOT REACHED"
    print(f"{what:<78} {figure:>28} {wanted or '':>14} {verdict}", flush=True)


def status(field):
    text = Path("/proc/self/status").read_text()
    return int(next(row for row in text.splitlines() if row.startswith(field)).split()[1])
