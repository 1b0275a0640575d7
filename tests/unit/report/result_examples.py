"""Results made up for tests: one target, planted faults, and names that mean harm."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from dvgs.report.results import Results, TargetResults

HOSTILE = "<script>alert(1)</script>"
SIMILARITIES = ("cosine", "dot", "projection", "l2")
N = 120
LIMITS = ("", "_low", "_high")


def limits(name, estimate):
    return {f"{name}{end}": estimate + shift for end, shift in zip(LIMITS, (0, -0.1, 0.1), strict=True)}


def make_curves(rng):
    names = ["profiles", "method", "drop", "quantile", "replicate"]
    table = pd.DataFrame(
        product(["all", "with_apc"], ["dvgs", "random", "apc"], ["low", "high"], [0, 0.5], range(3)), columns=names
    )
    table = table[(table["profiles"] == "with_apc") | (table["method"] != "apc")]
    return table.assign(n_train=100, steps=50, r2=rng.normal(0.4, 0.01, len(table)), r2_validation=0.4)


def make_correlations(cell):
    rows = [(name, "overall", "all", 80, 0.25) for name in SIMILARITIES]
    rows += [("cosine", "cell_iname", name, 20, 0.1) for name in np.unique(cell)]
    rows += [("cosine", "n_replicates", "3", 30, 0.1), ("cosine", "dose", "above 10 µM", 2, np.nan)]
    return pd.DataFrame(
        {"similarity": similarity, "by": by, "group": group, "n": n} | limits("pearson", r) | limits("spearman", r)
        for similarity, by, group, n, r in rows
    )


def make_truth():
    areas = {"dvgs_cosine": 0.7, "dvgs_l2": 0.8, "random": 0.5, "profile_norm": 0.9, "reconstruction_error": 0.6}
    return pd.DataFrame(
        {"profiles": profiles, "method": method, "fault": fault, "n": N, "n_faulty": 20, "found_at_20": 0.5}
        | limits("auroc", areas[method])
        | limits("spearman_noise", -0.3)
        for profiles, method, fault in product(["all", "with_apc"], areas, ["any", "noise", "bad_plate", "swapped"])
    )


def make_drug_targets(change=0.05, gain=0.2):
    rows = product(["dvgs", "random"], [0, 0.3], ["0", "1", "all"])
    return pd.DataFrame(
        {"method": method, "quantile": quantile, "replicate": replicate, "n_profiles": 60, "steps": 9, "reason": np.nan}
        | {"n_compounds": 1234, "n_pairs": 20, "n_random_pairs": 300, "p": 0.01}
        | limits("difference", 0.25)
        | limits("auroc", 0.7)
        | limits("change", change if quantile else 0)
        | limits("gain", gain if method == "dvgs" and quantile else 0)
        for method, quantile, replicate in rows
    )


def make_target(rng, cell):
    values = pd.DataFrame({name: rng.normal(size=N) for name in (*SIMILARITIES, "gradient_norm", "loss")})
    values = values.assign(
        profile_id=[f"{HOSTILE}{i}" for i in range(N)],
        cosine_se=rng.random(N),
        role=["source", "target", "validation", "test"] * 30,
    )
    steps = ["eighth", "quarter", "half", "alternate"]
    decision = {"cutoff": "auto", "quantile": 0.5, "threshold": 0.1, "n_validation": 9, "stability": 0.9}
    decision |= {"n_in": N, "n_kept": 70, "n_dropped": 50}
    decision |= {"r2_before": 0.4, "r2_before_sd": 0.001, "r2_after": 0.45, "r2_after_sd": 0.001}
    return TargetResults(
        name="general",
        values=values,
        convergence=pd.DataFrame({"steps": steps, "n_steps": 4321, "spearman": [0.11, 0.22, 0.33, 0.44]}),
        curves=make_curves(rng),
        correlations=make_correlations(cell),
        decision=decision,
        umap=pd.DataFrame({"x": rng.normal(size=N), "y": rng.normal(size=N), "value": 0.1, "cell_iname": cell}),
        truth=make_truth(),
        drug_targets=make_drug_targets(),
    )


def make_results(rng):
    ids = [f"{HOSTILE}{i}" for i in range(N)]
    cell = np.array([HOSTILE, "$\\frac{", "_hidden", "A375\x00", "PC3"])[rng.integers(5, size=N)]
    apc = np.where(rng.random(N) < 0.7, rng.random(N), np.nan)
    p = 0.5 - apc / 2
    table = {"sig_id": ids, "spearman_q75": apc, "cc_q75": apc + 0.02, "n_replicates": 3, "apc": apc}
    table |= {"apc_null_p": p, "apc_fdr": p, "reason": np.where(np.isnan(apc), "single replicate", "")}
    return Results(
        config={
            "compendium": "demo",
            "seed": 7,
            "targets": {"general": {}},
            "score": {"similarity": "cosine"},
            "apc": {"null_within": "plate"},
            "model": {"hidden": [64], "latent": 16},
            "input": {"level5": HOSTILE},
        },
        versions={"numpy": np.__version__},
        n_input=N + 5,
        ledger=pd.DataFrame({"profile_id": ids[:5], "reason": ["qc_pass is not 1"] * 3 + [HOSTILE] * 2}),
        replicate_ledger=pd.DataFrame({"sig_id": ids[:30], "profile_id": ids[:30], "reason": "missing"}),
        apc=pd.DataFrame(table),
        targets=[make_target(rng, cell)],
    )


def with_target(results, **parts):
    """The same results with other parts of their one target."""
    return replace(results, targets=[replace(results.targets[0], **parts)])


def without_apc(results):
    """The same results, had no signature two replicates."""
    apc = results.apc.assign(apc=np.nan, apc_null_p=np.nan, apc_fdr=np.nan, reason="single replicate")
    (target,) = results.targets
    overall = target.correlations[target.correlations["by"] == "overall"].assign(n=0)
    overall[[f"{r}{end}" for r in ("pearson", "spearman") for end in LIMITS]] = np.nan
    curves = target.curves[target.curves["profiles"] == "all"]
    return with_target(replace(results, apc=apc), curves=curves, correlations=overall)
