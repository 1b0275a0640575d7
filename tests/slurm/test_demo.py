"""The demo by the user's command, the profile as it ships, against a local run: values, jobs, and overhead per job."""

import filecmp
import re
import subprocess
import time
from datetime import datetime

import pandas as pd
import pytest

from .conftest import ENVIRONMENT, copy_project, end, start

pytestmark = pytest.mark.slow
LOCAL = ["snakemake", "--cores", "2", "--scheduler", "greedy"]


def times(out, folder):
    """Of each job that Snakemake's output tells of: its rule, when it was begun or submitted, when its end was seen.

    Adds the seconds of the rule's own work, and whether it was a job of SLURM.
    """
    jobs, now = {}, None
    for line in out.splitlines():
        if found := re.fullmatch(r"\[(.+ \d{4})\]", line):
            now = datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y")
        elif found := re.fullmatch(r" +jobid: (\d+)", line):
            jobs[found[1]] = {"begun": now}
        elif found := re.fullmatch(r" +benchmark: (\S+)", line):
            jobs[next(reversed(jobs))]["benchmark"] = folder / found[1]
        elif found := re.match(r"Job (\d+) has been submitted with SLURM", line):
            jobs[found[1]]["slurm"] = True
        elif found := re.match(r"Finished jobid: (\d+) \(Rule: (\w+)\)", line):
            jobs[found[1]] |= {"rule": found[2], "seen": now}
    table = pd.DataFrame(jobs.values()).dropna(subset=["benchmark"])
    table["own"] = [pd.read_csv(path, sep="\t")["s"].iloc[0] for path in table["benchmark"]]
    table["overhead"] = (table["seen"] - table["begun"]).dt.total_seconds() - table["own"]
    return table


def test_demo_is_the_same_as_locally(cluster, tmp_path):
    seconds, tables, folders = {}, {}, {}
    for where in ("local", "SLURM"):
        folders[where] = tmp_path / where
        copy_project(folders[where])
        began = time.monotonic()
        if where == "SLURM":
            status, out = end(start(folders[where]), folders[where], 1200)
        else:
            local = subprocess.run(LOCAL, cwd=folders[where], env=ENVIRONMENT, capture_output=True, text=True)
            status, out = local.returncode, local.stderr
        assert status == 0, out
        seconds[where] = time.monotonic() - began
        tables[where] = times(out, folders[where])
    sent = tables["SLURM"]["slurm"].eq(True)
    names = set(tables["SLURM"]["rule"][sent])
    print(f"{'demo':<8}{'jobs':>6}{'to SLURM':>10}{'seconds':>9}{'own work':>10}{'overhead of such a job':>24}")
    for where, table in tables.items():
        such = table[table["rule"].isin(names)]
        print(f"{where:<8}{len(table):>6}{sent.sum() if where == 'SLURM' else 0:>10}{seconds[where]:>9.0f}"
              f"{table['own'].sum():>10.0f}{such['overhead'].mean():>22.1f} s")  # fmt: skip
    assert sent.sum() == 19 and sent.sum() == tables["local"]["rule"].isin(names).sum()

    files = [path.relative_to(folders["local"]) for path in (folders["local"] / "results").rglob("*") if path.is_file()]
    assert sum(path.name == "values.parquet" for path in files) == 2 and len(files) > 40
    _, different, missing = filecmp.cmpfiles(folders["SLURM"], folders["local"], files, shallow=False)
    assert not missing
    assert {path.rpartition("/")[2] for path in different} <= {"report.html"}
