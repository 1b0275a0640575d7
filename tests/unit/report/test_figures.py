import pandas as pd

from dvgs.plotting import to_svg
from dvgs.report.figures import LOWEST_R2, agreement_figure, curve_figure, umap_figure
from unit.report.result_examples import make_curves


def test_many_profiles_are_counted_in_hexagons(rng):
    value, apc = rng.normal(size=(2, 20_000))
    assert len(to_svg(agreement_figure(value, apc, "value", "title"))) < 1_000_000


def test_curves_of_failed_models_do_not_flatten_the_others(rng):
    curves = make_curves(rng)
    curves.loc[curves["drop"] == "high", "r2"] = -40
    assert curve_figure(curves, 0.5).axes[0].get_ylim()[0] == LOWEST_R2


def test_too_few_profiles_for_a_umap_give_empty_panels():
    figure = umap_figure(pd.DataFrame({"x": [], "y": [], "value": [], "cell_iname": []}), "cosine")
    assert [panel.get_title() for panel in figure.axes[:2]] == ["Value", "Cell line"] and to_svg(figure)
