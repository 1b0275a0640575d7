"""What all pictures have in common: their style, sizes and colours, and how they are written."""

import io
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from dvgs.io.files import written_whole
from dvgs.methods.registry import METHODS, row_of

COLOURS = {name: method.colour for name, method in METHODS.items() if method.colour}
# Twelve colours for cell lines, after Paul Tol's muted and vibrant schemes.
CATEGORIES = ["#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77"]
CATEGORIES += ["#CC6677", "#882255", "#AA4499", "#EE7733", "#661100", "#000000"]
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "dvgs",
    "text.parse_math": False,  # names from metadata may hold dollar signs
}
WIDE, HALF = 9.6, 4.7  # inches
# Ticks are made when a figure is drawn, so drawing needs the style as well.
styled = style.context(["default", STYLE])


@styled
def to_svg(figure: Figure) -> str:
    """The figure as SVG text: no date, no random ids, text as outlines, so that it needs no font and no request."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return text.getvalue()


def write_svg(path: str | Path, figure: Figure) -> None:
    """Write a Figure as SVG, whole or not at all; the same figure gives the same bytes."""
    with written_whole(path) as partial:
        partial.write_text(to_svg(figure))


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: a method's own where it has one; the others take those of CATEGORIES in turn."""
    return COLOURS | dict(zip([name for name in names if name not in COLOURS], cycle(CATEGORIES)))


def colour_of(method: str) -> str:
    """The colour of a method, or of what it is a variant of; black for those without one of their own."""
    row = row_of(method)
    return row.colour if row and row.colour else "black"
