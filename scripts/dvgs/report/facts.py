"""The numbers of the page and of the summary, and the sentences that say what they mean."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dvgs.evaluation.apc_correlations import what_apc_goes_with
from dvgs.methods.registry import BASELINES, METHODS
from dvgs.replicates.apc import compare_q75
from dvgs.report.results import TargetResults

FDR = SIGNIFICANT = 0.05
ABOVE_NULL = 0.05  # beyond the 95th percentile of non-replicates: "percent replicating"
STABLE = 0.99  # rank correlation of half the steps with all from which a training was long enough
PUBLISHED = {"general": -0.031, "high_apc": 0.861}  # Pearson of DVGS and APC, Evans et al. 2024
RIVALS = [name for name in BASELINES if "replicates" not in METHODS[name].needs]

Facts = dict[str, Any]


def target_facts(target: TargetResults, similarity: str) -> Facts:
    """What the page and the terminal say about a target: its decision and the numbers beside it."""
    correlations, decision = target.correlations, target.decision
    by_role = correlations.query("by == 'role' and group == 'source' and pearson == pearson")
    overall = correlations.query("by == 'overall' and similarity == @similarity and pearson == pearson")
    r2_random = _r2_at_random(target.curves, decision["quantile"])
    return decision | {
        "name": target.name,
        "similarity": similarity,
        "verdict": verdict(decision, r2_random),
        "r2_random": r2_random,
        "agreement": overall.iloc[0].to_dict() if len(overall) else None,
        "agreement_source": by_role.iloc[0].to_dict() if len(by_role) else None,
        "published": PUBLISHED.get(target.name) if similarity == "cosine" else None,
        "found": _found_noise(target.truth),
    }


def _r2_at_random(curves: pd.DataFrame, quantile: float) -> float:
    control = curves.query("profiles == 'all' and method == 'random' and drop == 'low'")
    return control.loc[np.isclose(control["quantile"], quantile), "r2"].mean()


def verdict(decision: Facts, r2_random: float) -> str:
    """What the change of R² amounts to, beside the spread of repeated trainings.

    decision: the dict of cleaning.json. r2_random: the test R² when as many profiles are dropped at random.
    """
    if decision["quantile"] == 0:
        return "Nothing was dropped."
    change = decision["r2_after"] - decision["r2_before"]
    spread = 2 * np.hypot(decision["r2_before_sd"], decision["r2_after_sd"])
    if not np.isfinite([change, spread]).all():
        return "It is unknown whether R² changed: there are no repeated trainings to compare."
    if abs(change) <= spread:
        return "R² changed no more than between repeated trainings."
    if change > 0 and decision["r2_after"] - r2_random <= spread:
        return f"R² rose by {number(change)}, and nearly as much when as many are dropped at random."
    return f"R² {'rose' if change > 0 else 'fell'} by {number(abs(change))}, more than between repeated trainings."


def noise_rows(truth: pd.DataFrame | None) -> list[Facts]:
    """Every method against planted noise, the best first; truth: the table of truth.csv, None where there is none."""
    if truth is None:
        return []
    rows = truth[truth["fault"] == "noise"].sort_values(["profiles", "auroc"], ascending=[True, False])
    return rows.to_dict("records")


def _found_noise(truth: pd.DataFrame | None) -> dict[str, Facts]:
    """{method: row} against planted noise, on all profiles: the best similarity first, then the simple rivals."""
    rows = {row["method"]: row for row in noise_rows(truth) if row["profiles"] == "all"}
    best = [method for method in rows if method.startswith("dvgs")][:1]
    return {method: rows[method] for method in (*best, *RIVALS) if best and method in rows}


def convergence_facts(convergence: pd.DataFrame) -> Facts:
    """What ranking by fewer steps would have changed, and what to do about it."""
    found = convergence.set_index("steps")["spearman"].to_dict()
    if found["half"] >= STABLE:
        advice = "long enough: half as many steps would have given nearly the same ranking"
    else:
        advice = "too short for a stable ranking: for surer ranks make trajectory.epochs larger"
    return {"n_steps": int(convergence["n_steps"].max()), "spearman": found, "advice": advice}


def drug_target_facts(table: pd.DataFrame) -> Facts:
    """What dropping did to compounds that share a drug target: a verdict, and the means over replicates.

    table: that of drug_targets.csv. Returns a dict `verdict, rows`; there are no rows where nothing could be compared.
    """
    rows = table[table["replicate"] == "all"]
    if rows.empty:
        return {"verdict": f"Nothing could be compared: {table['reason'].iloc[0]}.", "rows": []}
    whole, rows = rows[rows["quantile"] == 0].iloc[:1], rows[rows["quantile"] > 0]
    first, by_dvgs = whole.iloc[0], rows[rows["method"] == "dvgs"]
    sentences = [
        f"Without dropping, compounds that share a drug target are {'' if first['p'] <= SIGNIFICANT else 'not surely '}"
        f"more similar than others: difference {interval(first, 'difference')}, p = {number(first['p'])}."
    ]
    for name, otherwise in (("change", "dropping nothing"), ("gain", "dropping as many at random")):
        sentences += _effect_of_dropping(by_dvgs, name, otherwise)
    return {"verdict": " ".join(sentences), "rows": pd.concat([whole, rows]).to_dict("records")}


def _effect_of_dropping(by_dvgs: pd.DataFrame, name: str, otherwise: str) -> list[str]:
    """Sentences on the shares at which the interval of a column, `change` or `gain`, leaves out 0."""
    sentences = []
    for word, where in {"more": by_dvgs[f"{name}_low"] > 0, "less": by_dvgs[f"{name}_high"] < 0}.items():
        if where.any():
            shares = " or ".join(f"{100 * q:g} %" for q in by_dvgs.loc[where, "quantile"])
            sentences.append(f"Dropping {shares} by DVGS left them {word} similar than {otherwise} did.")
    if not sentences and by_dvgs[name].notna().any():
        sentences.append(f"Dropping by DVGS shows no clear difference from {otherwise}.")
    return sentences


def apc_facts(apc: pd.DataFrame) -> Facts:
    """What the page says about APC; apc: as in Results. Most of it is left out where no profile has one."""
    known = apc["apc"].notna()
    q75 = ["spearman_q75", "cc_q75"]
    # Of single replicates, an APC is the mean correlation with the siblings.
    what = "signatures" if apc.columns[0] == "sig_id" else "replicates"
    facts = {"what": what, "n": len(apc), "n_known": int(known.sum()), "reasons": counts(apc.loc[~known, "reason"])}
    if known.any():
        p, fdr = apc["apc_null_p"].dropna(), apc["apc_fdr"].dropna()
        facts |= {
            "n_compared": len(p),
            "median": apc["apc"].median(),
            "high": (apc.loc[known, "apc"] >= 0.5).mean(),
            "significant": (fdr <= FDR).mean(),
            "replicating": (p <= ABOVE_NULL).mean(),
            "lowest": apc.loc[is_significant(apc), "apc"].min(),
            "goes_with": what_apc_goes_with(apc),
            "q75": compare_q75(*apc[q75].to_numpy().T) if apc.columns.isin(q75).sum() == 2 else "",
        }
    return facts


def is_significant(apc: pd.DataFrame) -> np.ndarray:
    """Which profiles agree better than non-replicates, (n,) bool, at a false discovery rate of FDR."""
    return (apc["apc_fdr"] <= FDR).to_numpy()


def counts(reasons: pd.Series) -> list[tuple[str, int]]:
    """(reason, how often it is given), the most frequent first."""
    counted = reasons.fillna("no reason given").value_counts()
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, value as JSON) of a nested configuration."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, default=str, ensure_ascii=False)


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; n/a where there is none."""
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else "n/a"


def interval(row: Any, name: str) -> str:
    """An estimate with its 95 % interval; row: a dict or a Series with `name, name_low, name_high`."""
    estimate, low, high = (number(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{estimate} [{low}, {high}]"
