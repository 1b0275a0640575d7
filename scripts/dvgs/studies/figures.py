"""Pictures of the studies: AUROC by settings, size and time, and curves of filtering."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dvgs.columns import SIMILARITIES
from dvgs.methods.registry import label_of
from dvgs.plotting import COLOURS, WIDE, colours_of, styled

SIMILARITY_COLOURS = dict(zip(SIMILARITIES, ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True))
MARKERS = "osD^vP*Xh"
PLAIN = "{x:g}"  # powers of ten on logarithmic axes, which matplotlib would write in TeX
AUROCS = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


BANDS = ("dvgs", "random")


@styled
def grid_figure(table: pd.DataFrame, effects: pd.DataFrame, title: str) -> Figure:
    """AUROC by the level of every factor for each similarity, means with intervals; the first panel shows all settings.

    table: of sensitivity.find_by_grid; effects: of sensitivity.effects.
    """
    figure = Figure(figsize=(WIDE, 4.8), layout="constrained")
    first, *panels = figure.subplots(2, 4).flat
    for panel in panels[1:]:
        panel.sharey(panels[0])
    settings = [table.loc[table["similarity"] == similarity, "auroc"] for similarity in SIMILARITIES]
    boxes = first.boxplot(settings, whis=(0, 100), patch_artist=True, medianprops={"color": "black"})
    for box, colour in zip(boxes["boxes"], SIMILARITY_COLOURS.values(), strict=True):
        box.set(facecolor=colour, alpha=0.6)
    first.set_xticks(range(1, 1 + len(SIMILARITIES)), SIMILARITIES)
    first.set_title("similarity, all settings")
    single = effects[effects["among"].isin(SIMILARITIES)]
    for panel, (factor, own) in zip(panels, single.groupby("factor", sort=False), strict=True):
        own = own.sort_values("level", key=lambda level: pd.to_numeric(level, errors="coerce"), kind="stable")
        for k, (similarity, line) in enumerate(own.groupby("among", sort=False)):
            x = np.arange(len(line)) + 0.06 * (k - 1.5)
            colour = SIMILARITY_COLOURS[similarity]
            panel.vlines(x, line["low"], line["high"], color=colour, linewidth=1.6)
            panel.plot(x, line["mean"], color=colour, marker="o", markersize=3.5, linewidth=1)
        panel.set_xticks(np.arange(len(line)), line["level"], rotation=0)
        panel.set_xlim(-0.4, len(line) - 0.6)
        panel.set_title(factor.replace("_", " "))
    for panel in (first, panels[3]):
        panel.set_ylabel("AUROC of finding flipped labels")
    handles = [Line2D([], [], color=c, marker="o", markersize=3.5, label=s) for s, c in SIMILARITY_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def scalability_figure(table: pd.DataFrame, quality: pd.DataFrame, title: str) -> Figure:
    """Seconds against the source and against `every`, both on logarithmic axes, and AUROC by `every`.

    table: of scalability.measure with `replicate`; quality: of scalability.quality.
    """
    figure = Figure(figsize=(WIDE, 3.6), layout="constrained")
    by_source, by_every, aurocs = figure.subplots(1, 3)
    median = table.groupby(["every", "source"], sort=False)["seconds"].median().unstack()
    colours = colours_of(median.index)
    for every, seconds in median.iterrows():
        own = table[table["every"] == every]
        by_source.plot(own["source"], own["seconds"], ".", color=colours[every], markersize=3, alpha=0.5)
        by_source.plot(seconds.index, seconds, color=colours[every], marker="o", markersize=3, label=f"every {every}")
    largest = median.columns.max()
    x = np.array([median.columns.min(), largest])
    by_source.plot(x, median.iloc[0, -1] * x / largest, ":", color="black", linewidth=1, label="linear")
    by_source.set(xscale="log", yscale="log", xlabel="samples of the source", ylabel="seconds")
    for axis in (by_source.xaxis, by_source.yaxis):
        axis.set_major_formatter(PLAIN)
        axis.set_minor_formatter("")
    by_source.legend()
    by_every.plot(median.index, median[largest], color=COLOURS["dvgs"], marker="o", markersize=3)
    ideal = median[largest].iloc[0] * median.index[0] / median.index.to_numpy()
    by_every.plot(median.index, ideal, ":", color="black", linewidth=1, label="1 / every")
    by_every.sharey(by_source)
    by_every.set(xscale="log", xlabel=f"every (source of {largest:,})")
    by_every.set_xticks(list(median.index), list(median.index))
    by_every.minorticks_off()
    by_every.legend()
    line = quality[quality["measure"] == "auroc"]
    place = np.arange(len(line))
    aurocs.vlines(place, line["low"], line["high"], color=COLOURS["dvgs"], linewidth=1.6)
    aurocs.plot(place, line["mean"], "o", color=COLOURS["dvgs"], markersize=4)
    aurocs.set_xticks(place, line["every"])
    aurocs.set_xlim(-0.5, len(line) - 0.5)
    aurocs.set(xlabel="every", ylabel="AUROC of finding flipped labels")
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def run_time_figure(table: pd.DataFrame) -> Figure:
    """AUROC against seconds of valuation, both logarithmic, one panel a study; intervals are over replicates.

    table: of summaries.compare.
    """
    studies = list(table["study"].unique())
    columns = min(len(studies), 3)
    rows = -(-len(studies) // columns)
    figure = Figure(figsize=(WIDE, 1 + 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    methods = list(table["method"].unique())
    colours = colours_of(methods)
    markers = {method: MARKERS[k % len(MARKERS)] for k, method in enumerate(methods)}
    for panel, study in zip(panels.flat, studies, strict=False):
        for row in table[table["study"] == study].itertuples():
            panel.vlines(row.seconds, row.auroc_low, row.auroc_high, color=colours[row.method], linewidth=1.2)
            panel.plot(row.seconds, row.auroc, markers[row.method], color=colours[row.method], markersize=6)
        panel.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", title=study.replace("_", " "), xlabel="seconds of valuation")
        panel.xaxis.set_major_formatter(PLAIN)
    for panel in panels.flat[len(studies) :]:
        panel.set_axis_off()
    for panel in panels[:, 0]:
        panel.set(yscale="log", ylabel="AUROC of finding the corrupted")
        panel.set_yticks(AUROCS, AUROCS)
        panel.minorticks_off()
    handles = [Line2D([], [], color=colours[m], marker=markers[m], linestyle="", label=label_of(m)) for m in methods]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


@styled
def study_figure(bands: pd.DataFrame, title: str) -> Figure:
    """Score against the dropped share, each panel with its own scale: models of the source, and of source and target.

    bands: DataFrame `method, with_target, drop, quantile, mean, low, high`, over replicates. Bands are drawn only for
    DVGS and random dropping, because those of all methods would hide one another.
    """
    figure = Figure(figsize=(WIDE, 7.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    colours = colours_of(bands["method"].unique()) | {"target": "black"}
    for row, with_target in zip(panels, (False, True), strict=True):
        for panel, drop in zip(row, ("low", "high"), strict=True):
            shown = bands[(bands["with_target"] == with_target) & (bands["drop"] == drop)]
            for method, line in shown.groupby("method", sort=False):
                _line(panel, method, line, colours[method])
            panel.set_title(f"{'target and ' if with_target else ''}source, {drop} values dropped first")
        row[0].set_ylabel("score on the test set")
    for panel in panels[1]:
        panel.set_xlabel("share of the source dropped")
        panel.locator_params(axis="x", nbins=7)
    figure.suptitle(title)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _line(panel, method, line, colour):
    style = "--" if method.startswith("dvgs_") else ":" if method == "target" else "-"
    label = "target alone" if method == "target" else label_of(method)
    panel.plot(line["quantile"], line["mean"], style, color=colour, marker="o", markersize=3, label=label)
    if method in BANDS:
        panel.fill_between(line["quantile"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
