"""The picture of a study's filter curves."""

from matplotlib.figure import Figure

from dvgs.plotting import WIDE, colours_of, method_name, styled

BANDS = ("dvgs", "random")


@styled
def study_figure(bands, title):
    """Score against the share dropped, each panel with its own scale: models of the source, and of source and target.

    bands: DataFrame `method, with_target, drop, quantile, mean, low, high`, over replicates; those of DVGS and of
    random dropping are drawn, for those of all methods would hide one another.
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
    label = "target alone" if method == "target" else method_name(method)
    panel.plot(line["quantile"], line["mean"], style, color=colour, marker="o", markersize=3, label=label)
    if method in BANDS:
        panel.fill_between(line["quantile"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
