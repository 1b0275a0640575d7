"""The picture of a study's filter curves."""

from matplotlib.figure import Figure

from dvgs.plots import CATEGORIES, COLOURS, WIDE, method_name, styled

BANDS = ("dvgs", "random")


@styled
def study_figure(bands, title):
    """Score against the share dropped, lowest values first and highest first, each panel with its own scale.

    bands: DataFrame `method, drop, quantile, mean, low, high`, over replicates; those of DVGS and of random dropping
    are drawn, for those of all methods would hide one another.
    """
    figure = Figure(figsize=(WIDE, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    others = [method for method in bands["method"].unique() if method not in COLOURS]
    colours = COLOURS | dict(zip(others, CATEGORIES, strict=False))
    for panel, drop in zip(panels, ("low", "high"), strict=True):
        for method, line in bands[bands["drop"] == drop].groupby("method", sort=False):
            colour = colours.get(method, "black")
            style = {"color": colour, "linestyle": "--" if method.startswith("dvgs_") else "-"}
            panel.plot(line["quantile"], line["mean"], marker="o", markersize=3, label=method_name(method), **style)
            if method in BANDS:
                panel.fill_between(line["quantile"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        panel.set(title=f"{title}: {drop} values dropped first", xlabel="share of the source dropped")
    panels[0].set_ylabel("score on the test set")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure
