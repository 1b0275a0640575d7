"""The page that a biologist decides from, and the few lines of it that go to the terminal."""

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dvgs.evaluation.apc_correlations import what_apc_goes_with
from dvgs.methods.registry import BASELINES, METHODS, label_of
from dvgs.plotting import to_svg
from dvgs.replicates.apc import compare_q75
from dvgs.report.figures import (
    agreement_figure,
    apc_figure,
    curve_figure,
    drug_target_figure,
    forest_figure,
    truth_figure,
    umap_figure,
    value_figure,
)

FDR = SIGNIFICANT = 0.05
ABOVE_NULL = 0.05  # beyond the 95th percentile of non-replicates: "percent replicating"
STABLE = 0.99  # rank correlation of half the steps with all from which a training was long enough
NAMED = 20  # unusable replicates, by name
LINES = 10  # of the summary
PUBLISHED = {"general": -0.031, "high_apc": 0.861}  # Pearson of DVGS and APC, Evans et al. 2024
RIVALS = [name for name in BASELINES if "replicates" not in METHODS[name].needs]


def render_report(
    *,
    compendium,
    similarity,
    config,
    versions,
    n_input,
    ledger,
    replicate_ledger,
    apc,
    values,
    convergence,
    curves,
    correlations,
    truth,
    drug_targets,
    cleaning,
    umaps,
):
    """The report as one HTML page that holds its pictures and asks nothing of any other host.

    similarity: the DVGS similarity used as the value. n_input: profiles in the input. ledger, replicate_ledger, apc:
    tables of the compendium. values, convergence, curves, correlations, cleaning, umaps: {target: table or decision},
    in the order of the page; truth, drug_targets: the same, or None where no faults were planted or no drug targets
    are known. Their columns are those of the result files.
    """
    targets = []
    for name, facts in _facts(similarity, curves, correlations, truth, cleaning).items():
        figures = _figures(facts, apc, values[name], curves[name], correlations[name], truth and truth[name])
        drug = drug_targets and _drug_target_facts(drug_targets[name])
        if drug and drug["rows"]:
            figures["drug_targets"] = drug_target_figure(drug_targets[name], name)
        figures["umap"] = umap_figure(umaps[name], similarity)
        pictures = {kind: _picture(figure, f"{name}, {kind}") for kind, figure in figures.items()}
        parts = {"planted": _noise_rows(truth and truth[name]), "convergence": _convergence_facts(convergence[name])}
        parts |= {"drug": drug}
        targets.append({"facts": facts, "pictures": pictures} | parts)
    return _template().render(
        compendium=compendium,
        similarity=similarity,
        targets=targets,
        apc=_apc_facts(apc),
        null_within={"cell_iname": "cell line"}.get(config["apc"]["null_within"], config["apc"]["null_within"]),
        ledger={"n_input": n_input, "n_out": len(ledger), "n_used": len(apc), "reasons": _counts(ledger["reason"])},
        lost={"n": len(replicate_ledger), "reasons": _counts(replicate_ledger["reason"])},
        named=replicate_ledger.head(NAMED).to_dict("records"),
        config=_flat(config),
        versions=versions,
    )


def summarise(
    *, compendium, similarity, n_input, ledger, replicate_ledger, apc, curves, correlations, truth, cleaning, **_
):
    """The result in at most ten plain lines; takes what `render_report` takes."""
    lines = [
        f"{compendium}: {n_input:,} profiles in, {len(ledger):,} left out, {len(apc):,} valued; "
        f"{len(replicate_ledger):,} replicates could not be used"
    ]
    for name, facts in _facts(similarity, curves, correlations, truth, cleaning).items():
        said = (_kept_line(facts), _agreement_line(facts), _found_line(facts))
        lines += [f"{name}: {text}" for text in said if text]
    if len(lines) <= LINES:
        return lines
    return [*lines[: LINES - 1], "the other targets are in the report"]


def _kept_line(facts):
    return (
        f"{facts['n_kept']:,} of {facts['n_in']:,} profiles kept, {facts['n_dropped']:,} dropped "
        f"(cutoff quantile {facts['quantile']:g}); test R² {number(facts['r2_before'])} → {number(facts['r2_after'])}"
    )


def _agreement_line(facts):
    found = facts["agreement"]
    if not found:
        return "no profile has an APC to compare with"
    return f"Pearson of DVGS ({facts['similarity']}) and APC {interval(found, 'pearson')}, n = {found['n']:,.0f}"


def _found_line(facts):
    found = [f"{label_of(method)} {number(row['auroc'])}" for method, row in facts["found"].items()]
    return f"planted noise found with AUROC {found[0]} (best similarity), {', '.join(found[1:])}" if found else None


def _facts(similarity, curves, correlations, truth, cleaning):
    """{target: what the page and the terminal say about it, the decision and the numbers beside it}."""
    facts = {}
    for name, decision in cleaning.items():
        by_role = correlations[name].query("by == 'role' and group == 'source' and pearson == pearson")
        overall = correlations[name].query("by == 'overall' and similarity == @similarity and pearson == pearson")
        r2_random = _r2_at_random(curves[name], decision["quantile"])
        facts[name] = decision | {
            "name": name,
            "similarity": similarity,
            "verdict": _verdict(decision, r2_random),
            "r2_random": r2_random,
            "agreement": overall.iloc[0].to_dict() if len(overall) else None,
            "agreement_source": by_role.iloc[0].to_dict() if len(by_role) else None,
            "published": PUBLISHED.get(name) if similarity == "cosine" else None,
            "found": _found_noise(truth and truth[name]),
        }
    return facts


def _convergence_facts(convergence):
    """What ranking by fewer steps would have changed, and what to do about it."""
    found = convergence.set_index("steps")["spearman"].to_dict()
    half = found["half"]
    if half >= STABLE:
        advice = "long enough: half as many steps would have ranked the profiles alike"
    else:
        advice = "short of a settled ranking: for surer ranks make trajectory.epochs larger"
    return {"n_steps": int(convergence["n_steps"].max()), "spearman": found, "advice": advice}


def _r2_at_random(curves, quantile):
    control = curves.query("profiles == 'all' and method == 'random' and drop == 'low'")
    return control.loc[np.isclose(control["quantile"], quantile), "r2"].mean()


def _verdict(decision, r2_random):
    """What the change of R² amounts to, beside the spread of repeated trainings."""
    if decision["quantile"] == 0:
        return "Nothing was dropped."
    change = decision["r2_after"] - decision["r2_before"]
    spread = 2 * np.hypot(decision["r2_before_sd"], decision["r2_after_sd"])
    if not np.isfinite([change, spread]).all():
        return "Whether R² changed cannot be told: there are no repeated trainings to compare."
    if abs(change) <= spread:
        return "R² changed no more than between repeated trainings."
    if change > 0 and decision["r2_after"] - r2_random <= spread:
        return f"R² rose by {number(change)}, and nearly as much when as many are dropped at random."
    return f"R² {'rose' if change > 0 else 'fell'} by {number(abs(change))}, more than between repeated trainings."


def _noise_rows(truth):
    """Every method against planted noise, the best first."""
    if truth is None:
        return []
    rows = truth[truth["fault"] == "noise"].sort_values(["profiles", "auroc"], ascending=[True, False])
    return rows.to_dict("records")


def _found_noise(truth):
    """{method: row} against planted noise, on all profiles: the best similarity first, then the simple rivals."""
    rows = {row["method"]: row for row in _noise_rows(truth) if row["profiles"] == "all"}
    best = [method for method in rows if method.startswith("dvgs")][:1]
    return {method: rows[method] for method in (*best, *RIVALS) if best and method in rows}


def _drug_target_facts(table):
    """What dropping did to compounds that share a drug target: a verdict, and the means over replicates."""
    rows = table[table["replicate"] == "all"]
    if rows.empty:
        return {"verdict": f"Nothing could be compared: {table['reason'].iloc[0]}.", "rows": []}
    whole, rows = rows[rows["quantile"] == 0].iloc[:1], rows[rows["quantile"] > 0]
    first, by_dvgs = whole.iloc[0], rows[rows["method"] == "dvgs"]
    parts = [
        f"Without dropping, compounds that share a drug target are {'' if first['p'] <= SIGNIFICANT else 'not surely '}"
        f"more alike than others: difference {interval(first, 'difference')}, p = {number(first['p'])}."
    ]
    for name, otherwise in (("change", "dropping nothing"), ("gain", "dropping as many at random")):
        found = {"more": by_dvgs[f"{name}_low"] > 0, "less": by_dvgs[f"{name}_high"] < 0}
        for word, where in found.items():
            if where.any():
                shares = " or ".join(f"{100 * q:g} %" for q in by_dvgs.loc[where, "quantile"])
                parts.append(f"Dropping {shares} by DVGS left them {word} alike than {otherwise} did.")
        if by_dvgs[name].notna().any() and not any(where.any() for where in found.values()):
            parts.append(f"Dropping by DVGS cannot be told from {otherwise}.")
    return {"verdict": " ".join(parts), "rows": pd.concat([whole, rows]).to_dict("records")}


def _figures(facts, apc, values, curves, correlations, truth):
    """{kind: figure} of one target; without an APC or without planted faults there is nothing to draw of them."""
    figures = {
        "curves": curve_figure(curves, facts["quantile"]),
        "values": value_figure(values, facts["similarity"]),
    }
    if found := facts["agreement"]:
        matched = apc.set_index(apc.columns[0])["apc"].reindex(values["profile_id"]).to_numpy(float)
        figures["agreement"] = agreement_figure(
            values[facts["similarity"]].to_numpy(float),
            matched,
            f"value ({facts['similarity']})",
            f"{facts['name']}, n = {found['n']:,.0f}\n"
            f"Pearson {interval(found, 'pearson')}\nSpearman {interval(found, 'spearman')}",
        )
        figures["forest"] = forest_figure(correlations, facts["name"])
    if truth is not None:
        figures["truth"] = truth_figure(truth)
    return figures


def _picture(figure, alt):
    """An image that the page carries in itself; as an image, its ids and its text stay apart from the page's."""
    data = base64.b64encode(to_svg(figure).encode()).decode()
    return {"src": f"data:image/svg+xml;base64,{data}", "alt": alt, "width": round(100 * figure.get_figwidth())}


def _apc_facts(apc):
    known = apc["apc"].notna()
    q75 = ["spearman_q75", "cc_q75"]
    significant = (apc["apc_fdr"] <= FDR).to_numpy()
    # Of single replicates, an APC is the mean correlation with the siblings.
    what = "signatures" if apc.columns[0] == "sig_id" else "replicates"
    facts = {"what": what, "n": len(apc), "n_known": int(known.sum()), "reasons": _counts(apc.loc[~known, "reason"])}
    if known.any():
        p, fdr = apc["apc_null_p"].dropna(), apc["apc_fdr"].dropna()
        facts |= {
            "n_compared": len(p),
            "median": apc["apc"].median(),
            "high": (apc.loc[known, "apc"] >= 0.5).mean(),
            "significant": (fdr <= FDR).mean(),
            "replicating": (p <= ABOVE_NULL).mean(),
            "lowest": apc.loc[significant, "apc"].min(),
            "goes_with": what_apc_goes_with(apc),
            "q75": compare_q75(*apc[q75].to_numpy().T) if apc.columns.isin(q75).sum() == 2 else "",
            "picture": _picture(apc_figure(apc, significant), "Distribution of APC"),
        }
    return facts


def _counts(reasons):
    counts = reasons.fillna("no reason given").value_counts()
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _flat(tree, prefix=""):
    """(dotted key, value as JSON) of a nested configuration."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, default=str, ensure_ascii=False)


def number(value, digits=3):
    """A number for people; n/a where there is none."""
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else "n/a"


def interval(row, name):
    """An estimate with its 95 % interval, from the columns `name, name_low, name_high`."""
    estimate, low, high = (number(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{estimate} [{low}, {high}]"


def _template():
    # Names come from metadata that anyone may have written, hence autoescape.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "method": label_of, "count": "{:,.0f}".format}
    environment.globals |= {"interval": interval}
    return environment.get_template("page.html.jinja")
