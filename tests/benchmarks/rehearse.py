"""A rehearsal of LINCS 2020 at its full shape: every stage on a synthetic release, with few steps; time and memory.

The release has as many profiles and replicates as that of the compounds, and its tables, but only 978 genes. The output
shows for each stage what it took and what dvgs.workflow.run_time predicted, with rates from smaller releases
(measure_rates.py); then the predictions for the whole run, and for ten million profiles.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from pyarrow import csv

from dvgs.errors import InputError
from dvgs.io.gctx import COL, MATRIX, ROW
from dvgs.io.rows import check_space
from dvgs.workflow import run_time
from dvgs.workflow.config import check_config

ROOT = Path(__file__).resolve().parents[2]
N_SIGNATURES, N_REPLICATES, N_GENES, N_ALL_GENES = 720_216, 1_805_898, 978, 12_328
SINGLE = 0.44  # share of the signatures that have one replicate
WELLS, BLOCK, FACTORS = 384, 8192, 16
CELLS = [f"CELL{i}" for i in range(230)]
NAMES = ["level5.gctx", "level4.gctx", "siginfo.txt", "instinfo.txt", "geneinfo.txt", "compoundinfo.txt"]
# Columns with the same text in every row, so that rows are as wide as real ones.
SIGINFO = "bead_batch nearest_dose pert_idose pert_itime cell_mfc_name pert_mfc_id ss_ngene tas pct_self_rank_q25 wt "
SIGINFO += "median_recall_rank_spearman median_recall_rank_wtcs_50 median_recall_score_spearman batch_effect_tstat "
SIGINFO += "median_recall_score_wtcs_50 batch_effect_tstat_pct is_hiq det_wells det_plates build_name project_code "
SIGINFO += "is_exemplar_sig is_ncs_sig is_null_sig"
INSTINFO = "bead_batch nearest_dose pert_idose pert_itime cell_mfc_name pert_mfc_id det_well rna_plate rna_well "
INSTINFO += "count_mean count_cv qc_f_logp qc_iqr qc_slope dyn_range inv_level_10 build_name failure_mode project_code"

SHORT = {
    "trajectory": {"epochs": 3},
    "curves": {"quantiles": [0.5], "replicates": 1, "shards": 1, "epochs": 1},
    "drug_targets": {"quantiles": [0.5], "replicates": 1, "epochs": 1},
    "statistics": {"bootstrap": 20},
    "score": {"shards": 2},
}
WITHIN = 0.3  # largest relative error of the predicted seconds in total


def machine():
    """The processor and memory of this machine, in words."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu[1] if cpu else platform.machine()}, {memory:.0f} GiB of memory"


def draw_sizes(n_signatures, n_replicates, rng):
    """Number of replicates of each signature: 44 % have one, the others 2 to about 6; their sum is n_replicates."""
    several = rng.random(n_signatures) >= SINGLE
    left = n_replicates - (n_signatures - several.sum()) - 2 * several.sum()
    return 1 + several + np.bincount(rng.choice(np.flatnonzero(several), left), minlength=n_signatures)


def write_release(folder, n_signatures, n_replicates):
    """Write a release: low-rank effects and noise; replicates of a signature are on plates far apart in the file."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    sizes = draw_sizes(n_signatures, n_replicates, rng)
    signature = np.repeat(np.arange(n_signatures), sizes)
    number = np.arange(n_replicates) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    plate_map = np.arange(n_signatures) // WELLS
    well = np.char.add("W", (np.arange(n_signatures) % WELLS).astype(str))
    cell = np.array(CELLS)[plate_map % len(CELLS)]
    plates = np.char.add(np.char.add("REP", plate_map.astype(str)), np.char.add("_", cell))
    sig_ids = np.char.add(np.char.add(plates, "_24H:"), well)
    of_plate = np.char.add(np.char.add(plates[signature], "_24H_X"), (number + 1).astype(str))
    replicate_ids = np.char.add(np.char.add(of_plate, ":"), well[signature])
    order = rng.permutation(plate_map[-1] + 1)[plate_map[signature]] + 1e4 * number
    order = np.argsort(order, kind="stable")

    genes = [str(1000 + i) for i in range(N_GENES)]
    effects = rng.normal(size=(n_signatures, FACTORS)).astype(np.float32) * rng.gamma(1.0, 0.4, (n_signatures, 1))
    loadings = rng.normal(size=(FACTORS, N_GENES)).astype(np.float32) / 4
    write_matrix(folder / NAMES[0], sig_ids, genes, effects.astype(np.float32), loadings, 1 / np.sqrt(sizes), rng)
    of_replicates = effects.astype(np.float32)[signature[order]]
    write_matrix(folder / NAMES[1], replicate_ids[order], genes, of_replicates, loadings, np.ones(n_replicates), rng)

    starts = np.cumsum(sizes) - sizes
    distil_ids = ["|".join(replicate_ids[a : a + n]) for a, n in zip(starts, sizes, strict=True)]
    share = n_signatures / N_SIGNATURES
    n_pert, n_compounds, n_drug_targets = (max(2, round(n * share)) for n in (33_000, 4_000, 400))
    pert = np.array([f"BRD-K{i:08d}" for i in range(n_pert)])[np.arange(n_signatures) // 3 % n_pert]
    of_signature = {"pert_id": pert, "cmap_name": pert, "pert_type": "trt_cp", "cell_iname": cell, "pert_time": "24"}
    of_signature |= {"pert_dose": np.array(["0.37", "1.11", "3.33", "10"])[np.arange(n_signatures) % 4]}
    of_signature |= {"pert_dose_unit": "uM", "pert_time_unit": "h", "qc_pass": "1"}
    siginfo = {"sig_id": sig_ids, "nsample": sizes, "cc_q75": "0.21", "distil_ids": distil_ids} | of_signature
    write_table(folder / NAMES[2], siginfo | dict.fromkeys(SIGINFO.split(), "0.123456"))
    of_replicate = {k: v if isinstance(v, str) else v[signature[order]] for k, v in of_signature.items()}
    instinfo = {"sample_id": replicate_ids[order], "det_plate": of_plate[order]} | of_replicate
    write_table(folder / NAMES[3], instinfo | dict.fromkeys(INSTINFO.split(), "0.123456"))
    gene_ids = [*genes, *(str(100_000 + i) for i in range(N_ALL_GENES - N_GENES))]
    spaces = ["landmark"] * N_GENES + ["inferred"] * (N_ALL_GENES - N_GENES)
    columns = dict.fromkeys(["gene_symbol", "ensembl_id", "gene_title", "gene_type", "src"], "text")
    write_table(folder / NAMES[4], {"gene_id": gene_ids, "feature_space": spaces} | columns)
    compounds = np.unique(pert)[:n_compounds]
    drug_targets = [f"T{i % n_drug_targets}" for i in range(len(compounds))]
    write_table(folder / NAMES[5], {"pert_id": compounds, "target": drug_targets})


def write_matrix(path, profile_ids, genes, effects, loadings, noise, rng):
    with h5py.File(path, "w") as file:
        matrix = file.create_dataset(MATRIX, (len(profile_ids), len(genes)), np.float32)
        for start in range(0, len(profile_ids), BLOCK):
            rows = slice(start, start + BLOCK)
            values = rng.standard_normal((len(effects[rows]), len(genes)), np.float32) * noise[rows, None].astype("f4")
            matrix[rows] = effects[rows] @ loadings + values
        file[f"{ROW}/id"], file[f"{COL}/id"] = np.array(genes, "S"), np.char.encode(profile_ids)


def write_table(path, columns):
    n = max(len(v) for v in columns.values() if not isinstance(v, str))
    arrays = {k: pa.repeat(v, n) if isinstance(v, str) else pa.array(v) for k, v in columns.items()}
    with open(path, "wb") as file:
        file.write("\t".join(arrays).encode() + b"\n")  # pyarrow would put quotes around names
        options = csv.WriteOptions(delimiter="\t", quoting_style="none", include_header=False)
        csv.write_csv(pa.table(arrays), file, options)


def make_config(release, n_signatures, settings=SHORT):
    config = {"compendium": "rehearsal", "input": dict(zip(("level5", "level4", "siginfo", "instinfo", "geneinfo",
              "compoundinfo"), (str(release / name) for name in NAMES), strict=True))}  # fmt: skip
    size = max(50, round(5000 * min(1, n_signatures / N_SIGNATURES)))
    config["targets"] = {"general": {"target_size": size, "test_size": size}}
    return config | settings


def run(folder, config, cores):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", str(cores), "--scheduler", "greedy", "--quiet", "rules", "host"]
    subprocess.run([*command, "--configfile", str(path)], check=True)


def measure(folder):
    """Jobs, seconds, seconds of CPU and peak memory (MB) of every stage, from the workflow's own benchmarks and logs.

    Stages are in the order of their end. Seconds of CPU depend least on other work of the machine, with one thread a
    job.
    """
    rows = []
    for path in sorted((folder / "benchmarks/rehearsal").glob("*.tsv"), key=lambda p: p.stat().st_mtime):
        found = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        cpu = float(re.search(r"(\S+) s of CPU", (folder / f"logs/rehearsal/{path.stem}.log").read_text())[1])
        rows.append({"stage": path.stem.split("-")[0], "seconds": found["s"], "cpu": cpu, "peak": found["max_rss"]})
    table = pd.DataFrame(rows).groupby("stage", sort=False)
    return table.agg(jobs=("seconds", "size"), seconds=("seconds", "sum"), cpu=("cpu", "sum"), peak=("peak", "max"))


def predicted(rates, stages, config, release, n_signatures):
    """The predicted seconds of each measured stage."""
    found = []
    for stage, row in stages.iterrows():
        amounts = run_time.work(stage, config, n_signatures, N_GENES, gigabytes(stage, release, n_signatures))
        found.append(run_time.seconds(rates, stage, amounts, row["jobs"]))
    return found


def gigabytes(stage, release, n_signatures):
    """GB that a job of a stage reads: matrices, and tables if they are most of it."""
    read = {"ingest": (0, 2, 4), "compute_apc": (1,)}.get(stage)
    return sum((release / NAMES[k]).stat().st_size for k in read) / 1e9 if read else 4e-9 * n_signatures * N_GENES


def show(stages, config, release, n_signatures):
    stages["predicted"] = predicted(run_time.read_rates(), stages, config, release, n_signatures)
    matrices = {"ingest": release / NAMES[0], "compute_apc": release / NAMES[1]}
    print(f"\n{'stage':<22}{'jobs':>5}{'seconds':>10}{'of CPU':>10}{'predicted':>10}{'peak memory':>14}{'read':>12}")
    for stage, row in stages.iterrows():
        rate = f"{matrices[stage].stat().st_size / row['seconds'] / 1e6:,.0f} MB/s" if stage in matrices else ""
        print(f"{stage:<22}{row['jobs']:>5.0f}{row['seconds']:>10.1f}{row['cpu']:>10.1f}{row['predicted']:>10.1f}"
              f"{row['peak']:>11,.0f} MB{rate:>12}")  # fmt: skip
    both, total = stages.loc[["ingest", "compute_apc"]].sum(), stages.sum()
    for name, row in (("ingest + APC", both), ("all", total)):
        print(f"{name:<22}{row['jobs']:>5.0f}{row['seconds']:>10.1f}{row['cpu']:>10.1f}{row['predicted']:>10.1f}")
    print("wanted: ingest + APC below 900 s; every peak below 6,000 MB")
    for name, column in (("seconds", "seconds"), ("seconds of CPU", "cpu")):
        off = total["predicted"] / total[column] - 1
        verdict = "reached" if abs(off) <= WITHIN else "NOT REACHED"
        print(f"predicted against {name}: {off:+.0%}, wanted within {WITHIN:.0%}: {verdict}")


def show_plans():
    """Print the predictions for whole runs with published settings and two targets."""
    config = {"compendium": "full", "threads": 8, "targets": {"general": {}, "high_apc": {}}}
    check_config(config, ROOT / "workflow/schemas/config.schema.yaml")
    print("\nPredicted hours of a whole run with published settings and two targets. Cores: of one machine of this")
    print("kind, at most eight threads a job. GPUs: one a job for training and scoring, with enough CPUs.")
    speed, rate, launch = run_time.GPU_FLOPS / 1e12, run_time.GPU_BYTES / 1e12, 1000 * run_time.GPU_STEP
    print(f"A GPU: {speed:.0f} TFLOP/s, less than measured on an H200. ASSUMED, not measured: {launch:g} ms to launch")
    print(f"a training step, of one model or of a stack, and {rate:g} TB/s for Adam.")
    print(f"Assumed: each further thread of a job adds {run_time.THREAD:g} of the speed of the first; ten million")
    print("profiles have perturbagens in proportion to LINCS 2020.")
    for n, genes in ((N_SIGNATURES, N_GENES), (N_SIGNATURES, N_ALL_GENES), (10_000_000, N_GENES)):
        matrix = 4e-9 * n * genes
        read = {"ingest": matrix, "compute_apc": matrix * N_REPLICATES / N_SIGNATURES, "": 4e-9 * n * N_GENES}
        plans = {}
        config["curves"]["shards"] = config["curves"]["replicates"]
        for cores in (1, 8, 32):
            config["score"]["shards"] = 4
            plans[f"{cores} core" + "s" * (cores > 1)] = run_time.plan(config, n, N_GENES, read, cores=cores)
        for gpus in (1, 8, 64):
            config["score"]["shards"] = max(4, gpus)
            plans[f"{gpus} GPU" + "s" * (gpus > 1)] = run_time.plan(config, n, N_GENES, read, gpus)
        table = pd.DataFrame(plans)
        table = pd.concat([table[table.max(axis=1) >= 0.05], table.sum().rename("all").to_frame().T])
        print(f"\n{n:,} profiles, {genes:,} genes in the files, {N_GENES} used")
        print(f"{'stage':<22}" + "".join(f"{name:>10}" for name in plans))
        for stage, hours in table.iterrows():
            print(f"{stage:<22}" + "".join(f"{value:>10.1f}" for value in hours))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "results/rehearsal", help="where to work; removed at the end"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of profiles")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="leave the folder, and use the release that is in it")
    options = parser.parse_args()
    n_signatures, n_replicates = round(N_SIGNATURES * options.scale), round(N_REPLICATES * options.scale)
    # Both matrices; selected, scratch and cleaned copies of level 5; ranks of level 4; tables.
    need = 4 * N_GENES * (n_replicates * 1.5 + n_signatures * 6) + 1000 * (n_signatures + n_replicates)
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}")
    print(f"{n_signatures:,} signatures, {n_replicates:,} replicates, {N_GENES} genes, "
          f"{options.cores} cores; needs {need / 1e9:.0f} GB of disk in {options.folder}", flush=True)  # fmt: skip
    release = options.folder / "release"
    try:
        check_space(options.folder, need)
    except InputError as error:
        sys.exit(f"error: {error}")
    if not release.exists():
        started = time.monotonic()
        write_release(release, n_signatures, n_replicates)
        print(f"release written in {time.monotonic() - started:.0f} s", flush=True)
    config = make_config(release, n_signatures)
    run(options.folder, config, options.cores)
    stages = measure(options.folder)
    check_config(config, ROOT / "workflow/schemas/config.schema.yaml")
    show(stages, config, release, n_signatures)
    show_plans()
    if not options.keep:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
