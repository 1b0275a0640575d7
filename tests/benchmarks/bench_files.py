"""Reading, as ratios within one run: ingest and APC against the obvious ways, and against a plain read of the file."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import h5py
import numpy as np
import pandas as pd
from cmapPy.pandasGEXpress.parse import parse
from ratios import line, status

from dvgs.compendium.ingestion import ingest
from dvgs.compendium.selection import Selection
from dvgs.io.formats import open_matrix
from dvgs.io.gctx import COL, MATRIX, ROW
from dvgs.io.tables import explode_replicates
from dvgs.replicates.apc import compute_apc
from dvgs.replicates.correlation import GroupSums

N_GENES, N_LANDMARKS = 12_328, 978
LAYOUTS = {"contiguous": {}, "chunked": {"chunks": (262, 1000)}}  # as GCTX writers do
REPLICATES = 3


def write(path, n, n_genes, **layout):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["version"] = np.bytes_("GCTX1.0")
        matrix = file.create_dataset(MATRIX, (n, n_genes), np.float32, **layout)
        for start in range(0, n, 262 * 8):
            matrix[start : start + 262 * 8] = rng.standard_normal((min(262 * 8, n - start), n_genes), np.float32)
        file[f"{ROW}/id"] = np.array([str(i) for i in range(n_genes)], "S")
        file[f"{COL}/id"] = np.array([f"P{i // 384}:{i}" for i in range(n)], "S")
    return path


def landmarks():
    return np.sort(np.random.default_rng(1).choice(N_GENES, N_LANDMARKS, replace=False))


def by_ingest(path, output):
    genes = pd.DataFrame({"feature_space": "inferred"}, index=[str(i) for i in range(N_GENES)])
    genes.iloc[landmarks(), 0] = "landmark"
    with open_matrix(path, "level5") as matrix:
        table = pd.DataFrame(index=pd.Index(matrix.profile_ids))
        ingest(output, matrix, table, genes, Selection(genes="landmark"))


def by_cmappy(path):
    parse(str(path), rid=[str(i) for i in landmarks()])


def by_fancy_indexing(path):
    with h5py.File(path, "r") as file:
        file[MATRIX][:, landmarks()]


def by_plain_read(path):
    buffer = bytearray(64 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def seconds_from(where, runs, path, output, repeats=5):
    """Median seconds of several functions that read a file, taken in turn, each time from "disk" or from "memory".

    From memory, this measures the work of reading; from disk, mostly the disk. Removing the last output is not counted.
    """
    taken = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for found, run in zip(taken, runs, strict=True):
            output.unlink(missing_ok=True)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                if where == "disk":
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            run()
            if repeat:
                found.append(time.perf_counter() - start)
    return [float(np.median(found)) for found in taken]


def bench_ingest(folder, n):
    output = folder / "out.h5ad"
    for layout, options in LAYOUTS.items():
        path = write(folder / f"{layout}.gctx", n, N_GENES, **options)
        ways = {"cmapPy rid=": (by_cmappy, 4), "h5py fancy indexing": (by_fancy_indexing, 1.5)}
        runs = [partial(by_ingest, path, output), *(partial(way, path) for way, _ in ways.values())]
        for where in ("memory", "disk"):
            ours, *others, plain = seconds_from(where, [*runs, partial(by_plain_read, path)], path, output)
            for (name, (_, wanted)), taken in zip(ways.items(), others, strict=True):
                figure = f"{taken / ours:.1f}x ({1e6 * ours / n:.0f} and {1e6 * taken / n:.0f} us)"
                demanded = layout == "chunked" and where == "memory"  # no reading is faster than the disk
                line(f"{layout}, from {where}: {name} / ingest, landmarks of a profile of {N_GENES:,}", figure,
                     *demanded * (f">= {wanted}x", taken / ours >= wanted))  # fmt: skip
            ratio, rate = ours / plain, n * N_GENES * 4 / plain / 1e6
            what = f"{layout}, from {where}: ingest / a plain read of the file ({rate:,.0f} MB/s)"
            line(what, f"{ratio:.2f}x", *(where == "disk") * ("<= 1.5x", ratio <= 1.5))
        need = {share: in_fresh_process("--memory-of", str(path), "--share", str(share)) for share in (0.25, 1)}
        figure = f"{need[0.25]:.0f} and {need[1]:.0f} MiB"
        line(f"{layout}: memory of ingest above the interpreter, a quarter and all", figure, "< 300 MiB", need[1] < 300)
        path.unlink()


def in_fresh_process(*options):
    command = [sys.executable, __file__, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def memory_of(path, share):
    """Peak memory in MiB of reading a share of a file's profiles, besides the interpreter and its modules."""
    before = status("VmHWM")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, open_matrix(path, "level5") as matrix:
        table = pd.DataFrame(index=pd.Index(matrix.profile_ids[: round(share * matrix.shape[0])]))
        genes = pd.DataFrame({"feature_space": "landmark"}, index=[str(i) for i in landmarks()])
        ingest(Path(folder) / "x.h5ad", matrix, table, genes, Selection(genes="landmark"))
    print((status("VmHWM") - before) / 1024)


def bench_apc(folder, n):
    path = write(folder / "level4.gctx", n * REPLICATES, N_LANDMARKS)
    with open_matrix(path, "level4") as file:
        ids = file.profile_ids
        named = {f"s{i}": "|".join(ids[i::n]) for i in range(n)}  # replicates far apart
        signatures = pd.DataFrame({"cell_iname": "A", "pert_id": [f"p{i}" for i in range(n)]}, index=list(named))
        members = explode_replicates(pd.Series(named))
        genes, found = np.arange(N_LANDMARKS), {}

        def ours():
            rows = pd.Index(ids).get_indexer(members["profile_id"])
            groups = np.repeat(np.arange(n), REPLICATES)
            found["ours"] = GroupSums(file.blocks(genes), rows, groups, n, N_LANDMARKS).means()

        def whole():
            compute_apc(file, genes, members, signatures, 100, np.random.default_rng(0), folder)

        def loop():
            with h5py.File(path, "r") as raw:
                where = {name: i for i, name in enumerate(ids)}
                apc = []
                for distil_ids in named.values():
                    x = np.array([raw[MATRIX][where[name]] for name in distil_ids.split("|")])
                    apc.append(np.corrcoef(x)[np.triu_indices(len(x), 1)].mean())
                found["loop"] = np.array(apc)

        for where in ("memory", "disk"):
            fast, slow, more = seconds_from(where, [ours, loop, whole], path, folder / "none")
            figure = f"{slow / fast:.1f}x ({1e6 * fast / n:.0f} and {1e6 * slow / n:.0f} us)"
            what = f"APC of {n:,} signatures, from {where}: a loop with np.corrcoef / ours"
            line(what, figure, ">= 20x", slow / fast >= 20)
            what = "    the same / ours with the null and the quantile of Spearman"
            line(what, f"{slow / more:.1f}x ({1e6 * more / n:.0f} us)")
    difference = np.abs(found["ours"] - found["loop"]).max()
    line("    largest difference", f"{difference:.1e}", "<= 1e-6", difference <= 1e-6)


def main():
    warnings.filterwarnings("ignore", category=FutureWarning)  # cmapPy's
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=60_000, help="profiles of the large file")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        return memory_of(options.memory_of, options.share)
    with tempfile.TemporaryDirectory() as folder:
        bench_ingest(Path(folder), options.profiles)
        bench_apc(Path(folder), options.profiles // 5)


if __name__ == "__main__":
    main()
