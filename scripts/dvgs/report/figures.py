"""The pictures of the report: tables in, a matplotlib Figure out.

Nothing here touches pyplot or the settings of the process, and the same tables give the same bytes.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import FillStyleType, LineStyleType
from scipy import stats

from dvgs.methods.registry import METHODS, label_of
from dvgs.plotting import CATEGORIES, COLOURS, HALF, WIDE, colour_of, styled

ROLES = {"source": "#0072B2", "target": "#D55E00", "validation": "#009E73", "test": "#CC79A7"}
OTHER = "#D0D0D0"
FAULTS = {"any": "any fault", "noise": "planted noise", "bad_plate": "bad plate", "swapped": "swapped wells"}
STRATA = {
    "role": "role",
    "cell_iname": "cell line",
    "pert_type": "perturbagen type",
    "dose": "dose",
    "n_replicates": "replicates",
}
LARGEST_GROUPS = 15  # a stratum, in the forest plot
SCATTER = 2000  # profiles; with more, points hide one another and are counted in hexagons
LOWEST_R2 = -0.25  # a model that fails altogether must not flatten all other curves


def _label(name: Any, length: int = 24) -> str:
    """A name from metadata as text of a picture, without control characters, which would make the SVG unreadable."""
    name = "".join(c for c in str(name) if c.isprintable())
    return name if len(name) <= length else name[: length - 1] + "…"


def _finite(values: pd.Series) -> np.ndarray:
    numbers = np.asarray(values, float)
    return numbers[np.isfinite(numbers)]


def _bulk(values: np.ndarray, outside: float = 0.002) -> tuple[float, float]:
    """The range of nearly all values: dot products and distances have tails that would fill the axis."""
    low, high = np.quantile(values, [outside / 2, 1 - outside / 2]) if len(values) else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


@styled
def curve_figure(curves: pd.DataFrame, quantile: float) -> Figure:
    """Test R² against the share dropped: all profiles, and those with an APC where some have none.

    curves: the table of curves.csv. quantile: the chosen cutoff, shown in the panel of all profiles.
    """
    titles = {"all": "All source profiles", "with_apc": "Source profiles with an APC"}
    shown = [profiles for profiles in titles if (curves["profiles"] == profiles).any()]
    figure = Figure(figsize=(WIDE, 4.2), layout="constrained")
    panels = figure.subplots(1, max(len(shown), 1), sharey=True, squeeze=False)[0]
    for panel, profiles in zip(panels, shown, strict=False):
        part = curves[curves["profiles"] == profiles]
        for (method, drop), line in part.groupby(["method", "drop"]):
            _curve(panel, line, colour_of(method), "-" if drop == "low" else "--")
        size = part.loc[part["quantile"] == part["quantile"].min(), "n_train"].max()
        panel.set(title=f"{titles[profiles]} (n = {size:,})", xlabel="share of source profiles dropped")
        if profiles == "all":
            panel.axvline(quantile, color="black", linewidth=1, linestyle=":")
    panels[0].set_ylabel("R² on the test set")
    if len(r2 := _finite(curves["r2"])) and r2.min() < LOWEST_R2 < r2.max():
        panels[0].set_ylim(bottom=LOWEST_R2)
    methods = [m for m in dict.fromkeys([*METHODS, *curves["method"]]) if (curves["method"] == m).any()]
    handles = [Line2D([], [], color=colour_of(m), marker="o", markersize=3.5, label=label_of(m)) for m in methods]
    styles: dict[str, LineStyleType] = {
        "low dropped first": "-",
        "high dropped first": "--",
        "chosen cutoff": ":",
    }
    handles += [Line2D([], [], color="black", linestyle=style, label=text) for text, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _curve(panel: Axes, line: pd.DataFrame, colour: str, style: str) -> None:
    """Mean over replicates, with its 95 % interval (t)."""
    r2 = line.groupby("quantile")["r2"].agg(["mean", "sem", "count"])
    reach = stats.t.ppf(0.975, r2["count"] - 1) * r2["sem"]
    panel.plot(r2.index, r2["mean"], style, color=colour, marker="o", markersize=3, linewidth=1.4)
    panel.fill_between(r2.index, r2["mean"] - reach, r2["mean"] + reach, color=colour, alpha=0.15, lw=0)


@styled
def value_figure(values: pd.DataFrame, similarity: str) -> Figure:
    """Left, the values by role. Right, the standard errors of cosine beside the spread of cosine.

    values: the table of values.parquet.
    """
    figure = Figure(figsize=(WIDE, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.linspace(*_bulk(_finite(values[similarity])), 31)
    for role, colour in ROLES.items():
        found = _finite(values.loc[values["role"] == role, similarity])
        if len(found):
            weights = np.full(len(found), 100 / len(found))  # per cent, as roles differ in size
            label = f"{role} ({len(found):,})"
            left.hist(found, bins, weights=weights, histtype="step", color=colour, linewidth=1.4, label=label)
    left.set(title="Values by role", xlabel=f"value ({similarity})", ylabel="% of the role's profiles")
    right.set(title="Standard error of a value", xlabel="standard error of cosine", ylabel="profiles")
    error, cosine = _finite(values["cosine_se"]), _finite(values["cosine"])
    if len(error) and len(cosine):
        right.hist(error, np.linspace(0, _bulk(error)[1], 51), color="#9AB8CC")
        right.axvline(np.median(error), color="black", label=f"median error, {np.median(error):.3g}")
        right.axvline(cosine.std(), color="black", linestyle="--", label=f"spread (SD) of cosine, {cosine.std():.3g}")
    for panel in (left, right):
        handles, _ = panel.get_legend_handles_labels()
        panel.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return figure


@styled
def apc_figure(apc: pd.DataFrame, significant: np.ndarray) -> Figure:
    """Distribution of APC; significant: (n,) bool, which rows of apc agree better than non-replicates."""
    figure = Figure(figsize=(WIDE, 3), layout="constrained")
    panel = figure.subplots()
    known = apc["apc"].notna().to_numpy()
    parts = [apc["apc"][known & significant], apc["apc"][known & ~significant]]
    lowest, highest = apc["apc"].min(), apc["apc"].max()
    bins = list(np.linspace(lowest, highest, 61)) if highest > lowest else 10
    labels = [f"significant at FDR 5 % ({len(parts[0]):,})", f"not significant ({len(parts[1]):,})"]
    panel.hist(parts, bins, stacked=True, color=[COLOURS["apc"], "#BBBBBB"], label=labels)
    median = apc["apc"].median()
    panel.axvline(median, color="black", linestyle="--", label=f"median, {median:.3f}")
    single = apc.columns[0] != "sig_id"
    meaning = "of a replicate with its siblings" if single else "of a signature's replicates"
    ylabel = "replicates" if single else "signatures"
    panel.set(xlabel=f"APC (average Pearson correlation {meaning})", ylabel=ylabel)
    panel.legend()
    return figure


@styled
def agreement_figure(value: np.ndarray, apc: np.ndarray, label: str, title: str) -> Figure:
    """Values against APC, (n,) each, NaN where unknown: points, or counts in hexagons where there are many."""
    figure = Figure(figsize=(HALF, 4), layout="constrained")
    panel = figure.subplots()
    known = np.isfinite(value) & np.isfinite(apc)
    if known.sum() > SCATTER:
        low, high = _bulk(value[known])
        known &= (value >= low) & (value <= high)
        hexagons = panel.hexbin(apc[known], value[known], gridsize=45, bins="log", mincnt=1, cmap="viridis", lw=0.1)
        figure.colorbar(hexagons, label="profiles in a hexagon", format="{x:g}")
    else:
        panel.scatter(apc[known], value[known], s=6, color=COLOURS["dvgs"], alpha=0.5, linewidth=0, rasterized=True)
    panel.set(title=title, xlabel="APC", ylabel=f"DVGS {label}")
    return figure


@styled
def forest_figure(correlations: pd.DataFrame, title: str) -> Figure:
    """Correlation of values and APC overall and by stratum, with 95 % intervals; the largest groups of each.

    correlations: the table of correlations.csv.
    """
    rows = _forest_rows(correlations)
    y = -np.arange(len(rows))
    figure = Figure(figsize=(HALF, 1.5 + 0.19 * len(rows)), layout="constrained")
    panel = figure.subplots()
    drawn = (("pearson", "o", COLOURS["dvgs"], 0.16), ("spearman", "s", COLOURS["apc"], -0.16))
    for name, marker, colour, shift in drawn:
        panel.hlines(y + shift, rows[f"{name}_low"], rows[f"{name}_high"], color=colour, linewidth=1.2)
        panel.plot(rows[name], y + shift, marker, color=colour, markersize=3.5, label=name.capitalize())
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(y, rows["label"], fontsize=8)
    for tick, heading in zip(panel.get_yticklabels(), rows["n"].isna(), strict=True):
        tick.set_fontweight("bold" if heading else "normal")
    panel.set(title=title, xlabel="correlation of value and APC", ylim=(-len(rows) + 0.4, 0.6))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _forest_rows(correlations: pd.DataFrame) -> pd.DataFrame:
    """The rows from top to bottom, a heading (without numbers) before each stratum."""
    overall = correlations[correlations["by"] == "overall"]
    strata = [("all profiles with an APC", overall.assign(group=overall["similarity"]))]
    for by, title in STRATA.items():
        part = correlations[correlations["by"] == by].nlargest(LARGEST_GROUPS, "n", keep="first")
        if by in ("dose", "n_replicates"):  # in the order of the last number in the name of a group
            number = pd.to_numeric(part["group"].astype(str).str.extract(r"([\d.]+)\D*$")[0], errors="coerce")
            part = part.assign(number=number).sort_values(["number", "group"]).drop(columns="number")
        if len(part):
            strata.append((f"by {title}", part))
    tables = []
    for title, part in strata:
        labels = [f"{_label(group)} ({n:,.0f})" for group, n in zip(part["group"], part["n"], strict=True)]
        tables += [pd.DataFrame({"label": [title]}), part.assign(label=labels)]
    return pd.concat(tables, ignore_index=True).reindex(columns=[*correlations.columns, "label"])


@styled
def truth_figure(truth: pd.DataFrame) -> Figure:
    """Detection of planted faults: AUROC with its interval above, the share found at 20 % below.

    truth: the table of truth.csv. Filled marks stand for all profiles, open ones for those with an APC.
    """
    figure = Figure(figsize=(WIDE, 5.6), layout="constrained")
    faults = [fault for fault in FAULTS if (truth["fault"] == fault).any()]
    panels = figure.subplots(2, max(len(faults), 1), sharex="row", sharey=True, squeeze=False)
    methods = list(dict.fromkeys(truth["method"]))[::-1]
    for column, fault in zip(panels.T, faults, strict=False):
        part = truth[truth["fault"] == fault]
        n = part.loc[part["profiles"] == "all", "n_faulty"].max()
        column[0].set_title(FAULTS[fault] + (f" ({n:,.0f})" if n == n else ""))
        for row in part.itertuples():
            everyone = row.profiles == "all"
            y = methods.index(row.method) + (0.15 if everyone else -0.15)
            mark = {"color": colour_of(row.method), "fillstyle": "full" if everyone else "none", "markersize": 4.5}
            column[0].hlines(y, row.auroc_low, row.auroc_high, color=colour_of(row.method), linewidth=1.2)
            column[0].plot(row.auroc, y, "o", **mark)
            column[1].plot(row.found_at_20, y, "o", **mark)
        for panel, chance in zip(column, (0.5, 0.2), strict=True):
            panel.axvline(chance, color="black", linewidth=0.8, linestyle=":")
        column[0].set_xlabel("AUROC")
        column[1].set_xlabel("share found at 20 %")
        column[1].set_xlim(-0.04, 1.04)
    panels[0, 0].set_yticks(range(len(methods)), [label_of(method) for method in methods])
    fill: dict[str, FillStyleType] = {"all profiles": "full", "profiles with an APC": "none"}
    handles = [Line2D([], [], color="black", marker="o", ls="", fillstyle=f, label=text) for text, f in fill.items()]
    handles.append(Line2D([], [], color="black", linewidth=0.8, linestyle=":", label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@styled
def drug_target_figure(table: pd.DataFrame, title: str) -> Figure:
    """How much more similar compounds are that share a drug target, against the share of profiles dropped.

    table: that of drug_targets.csv. Marks are means with their intervals, faint dashes the replicates.
    """
    figure = Figure(figsize=(HALF, 3.8), layout="constrained")
    panel = figure.subplots()
    methods = list(dict.fromkeys(table["method"]))
    for k, method in enumerate(methods):
        shift = 0.012 * (k - (len(methods) - 1) / 2)  # side by side, as nothing dropped is the same for all
        part = table[table["method"] == method]
        mean, single = part[part["replicate"] == "all"], part[part["replicate"] != "all"]
        x, colour = mean["quantile"] + shift, colour_of(method)
        panel.vlines(x, mean["difference_low"], mean["difference_high"], color=colour, linewidth=1.4)
        panel.plot(x, mean["difference"], color=colour, marker="o", markersize=4, label=label_of(method))
        panel.plot(single["quantile"] + shift, single["difference"], "_", color=colour, markersize=6, alpha=0.6)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set(title=title, xlabel="share of source profiles dropped", ylabel="difference of mean cosine")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def umap_figure(umap: pd.DataFrame, similarity: str) -> Figure:
    """Latent space of the cleaned profiles, coloured by value and by the most frequent cell lines.

    umap: DataFrame `x, y, value, cell_iname`.
    """
    figure = Figure(figsize=(WIDE, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    # A random order, the same every time, keeps any one cell line from covering all others.
    umap = umap[np.isfinite(umap["x"]) & np.isfinite(umap["y"])].sample(frac=1, random_state=0)
    dots = {"s": np.clip(20000 / max(len(umap), 1), 0.3, 9), "linewidth": 0, "rasterized": True}
    low, high = _bulk(_finite(umap["value"]), 0.02)
    points = left.scatter(umap["x"], umap["y"], c=umap["value"], vmin=low, vmax=high, cmap="viridis", **dots)
    figure.colorbar(points, ax=left, label=f"value ({similarity})", extend="both")
    lines = umap["cell_iname"].astype(str)
    common = sorted(lines.value_counts().sort_index().nlargest(len(CATEGORIES)).index)
    colours = dict(zip(common, CATEGORIES, strict=False))
    right.scatter(umap["x"], umap["y"], c=[colours.get(line, OTHER) for line in lines], **dots)
    shown = [(_label(line, 16), colour) for line, colour in colours.items()]
    if lines.nunique() > len(common):
        shown.append(("other", OTHER))
    marks = [Line2D([], [], color=colour, marker="o", ls="") for _, colour in shown]
    legend = right.legend(marks, [""] * len(marks), loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0)
    for text, (name, _) in zip(legend.get_texts(), shown, strict=True):
        text.set_text(name)  # a legend leaves out names that begin with an underscore
    left.set_title("Value")
    right.set_title("Cell line")
    for panel in (left, right):
        panel.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
    return figure
