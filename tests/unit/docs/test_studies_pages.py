"""The tables of docs/studies say what the CSV files beside them say."""

import re

import pandas as pd
import pytest

from .pages import METHODS, PAGES, STUDIES, plain, signed, table_at

MEASURES = {
    "AUROC, ± 2 sd": "auroc",
    "found at 20 %, ± 2 sd": "found_at_20",
    "Spearman with noise, ± 2 sd": "spearman_noise",
}


def tables():
    """Of every table of methods: the folder of its CSV files, its header and its rows."""
    found = []
    for page in PAGES:
        folder, lines = None, page.read_text().splitlines()
        for number, line in enumerate(lines):
            for link in re.findall(r"\((data/\S+)/summary\.csv\)", line):
                folder = STUDIES / link
            if line.startswith("| method |") and "± 2 sd" in line:
                found.append(pytest.param(folder, *table_at(lines, number), id=f"{folder.parent.name}-{folder.name}"))
    return found


@pytest.mark.parametrize("folder, header, rows", tables())
def test_a_table_of_methods(folder, header, rows):
    summary, comparisons = (pd.read_csv(folder / f"{name}.csv") for name in ("summary", "comparisons"))
    comparisons = comparisons[comparisons["dvgs"] == "dvgs"]
    summary, comparisons = (table.set_index(["method", "measure"]) for table in (summary, comparisons))
    first = next(MEASURES[name] for name in header if name in MEASURES)
    for row in rows:
        method = METHODS[row[0]]
        for name, cell in zip(header, row, strict=True):
            if name in MEASURES:
                of = summary.loc[method, MEASURES[name]]
                assert cell == f"{plain(of['mean'])} ± {2 * of['sd']:.3f}", (row[0], name)
            elif name == "DVGS is better by" and method != "dvgs":
                of = comparisons.loc[method, first]
                mean = f"**{signed(of['mean'])}**" if of["better"] or of["worse"] else signed(of["mean"])
                assert cell == f"{mean} [{signed(of['low'])}, {signed(of['high'])}]", row[0]
            elif name in ("seconds", "times DVGS") and cell:
                times = pd.read_csv(folder.parent / "run_times.csv").set_index(["study", "method"])
                shown = times.loc[(folder.name, method), "seconds" if name == "seconds" else "ratio"]
                digits = len(cell.partition(".")[2])
                assert float(cell.replace(",", "")) == pytest.approx(shown, abs=0.51 * 10**-digits), row[0]


def curves():
    """Of every table of filter curves: its bands.csv, the last that was named, its header and its rows."""
    found = []
    for page in PAGES:
        bands, lines = None, page.read_text().splitlines()
        for number, line in enumerate(lines):
            for link in re.findall(r"\((data/\S+/bands\.csv)\)", line):
                bands = STUDIES / link
            if line.startswith("| dropped |"):
                study = bands.parent
                found.append(pytest.param(bands, *table_at(lines, number), id=f"{study.parent.name}-{study.name}"))
    return found


@pytest.mark.parametrize("bands, header, rows", curves())
def test_a_table_of_filter_curves(bands, header, rows):
    table = pd.read_csv(bands)
    if "with_target" not in table:
        table["with_target"] = False
    table = table.set_index(["method", "with_target", "drop", "quantile"])["mean"]
    target = header.index("with the target: 0") if "with the target: 0" in header else len(header)
    quantiles = [float(name.removeprefix("with the target: ")) for name in header[1:]]
    for row in rows:
        name, drop = row[0].removesuffix(", high").removesuffix(", low"), "high" if row[0].endswith("high") else "low"
        for place, (cell, quantile) in enumerate(zip(row[1:], quantiles, strict=True), 1):
            shown = table[METHODS[name], place >= target, drop, quantile]
            assert cell == plain(shown), (row[0], quantile)


def test_there_are_such_tables():
    assert len(tables()) >= 12 and len(curves()) >= 11
