import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from dvgs.methods.registry import METHODS
from dvgs.plotting import CATEGORIES, COLOURS, STYLE, colour_of, colours_of, styled, to_svg, write_svg


@styled
def picture(title="title"):
    figure = Figure(figsize=(3, 2))
    panel = figure.subplots()
    panel.plot(np.arange(3), clip_on=True)
    panel.set_title(title)
    return figure


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    svg = to_svg(picture())
    assert svg == to_svg(picture()) and "<dc:date>" not in svg
    write_svg(tmp_path / "picture.svg", picture())
    assert (tmp_path / "picture.svg").read_text() == svg
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]


def test_text_needs_no_font_and_a_dollar_sign_is_no_formula():
    assert "<text" not in to_svg(picture("$\\frac{")) and "<text" not in to_svg(picture())


def test_the_settings_of_the_process_stay_as_they_were():
    before = {name: rcParams[name] for name in STYLE}
    to_svg(picture())
    assert {name: rcParams[name] for name in STYLE} == before != STYLE


def test_a_figure_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.svg"
    write_svg(path, picture())
    before = path.read_text()
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_svg(path, picture("other"))
    assert path.read_text() == before


def test_methods_have_their_colours_and_the_others_take_turns():
    others = [f"cell {k}" for k in range(len(CATEGORIES) + 1)]
    found = colours_of([others[0], "apc", *others[1:]])
    assert found["apc"] == METHODS["apc"].colour and COLOURS.items() <= found.items()
    assert [found[name] for name in others] == [*CATEGORIES, CATEGORIES[0]]
    assert colours_of([]) == COLOURS


@pytest.mark.parametrize(
    ("method", "colour"),
    [("dvgs", "#0072B2"), ("dvgs_l2", "#0072B2"), ("data_shapley", "black"), ("no method", "black")],
)
def test_colour_of_a_method_or_its_variant(method, colour):
    assert colour_of(method) == colour
