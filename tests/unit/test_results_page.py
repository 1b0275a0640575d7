"""The tables of docs/studies say what the CSV files beside them say."""

import re
from pathlib import Path

import pandas as pd
import pytest

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
PAGES = sorted(STUDIES.glob("*.md"))
METHODS = {
    "DVGS": "dvgs",
    "DVGS, classes as they are": "dvgs_raw",
    "DVGS, classes as they are, 10 starts of 30 epochs": "dvgs_early",
    "DVGS, one start of 100 epochs": "dvgs_once",
    "DVGS, natural gradient": "dvgs_natural",
    "DVGS, natural gradient, two last layers": "dvgs_natural",
    "mean loss along the same steps": "dvgs_loss",
    "mean loss along the steps, classes as they are": "dvgs_loss",
    "random": "random",
    "target alone": "target",
    "leave-one-out": "leave_one_out",
    "Data Shapley": "data_shapley",
    "Data Shapley, 10 permutations": "data_shapley",
    "DVRL": "dvrl",
    "KNN-Shapley": "knn_shapley",
    "Data-OOB": "data_oob",
    "loss at the end": "final_loss",
    "loss at the end, balanced classes": "final_loss_balanced",
    "loss at the end, one start of 100 epochs": "final_loss_once",
    "gradient norm": "gradient_norm",
    "norm of the features": "profile_norm",
    "norm of the pixels": "profile_norm",
    "reconstruction error": "reconstruction_error",
}
MEASURES = {
    "AUROC, ± 2 sd": "auroc",
    "found at 20 %, ± 2 sd": "found_at_20",
    "Spearman with noise, ± 2 sd": "spearman_noise",
}


def table_at(lines, number):
    """The header and the rows of the table that begins at a line."""
    end = next(k for k in range(number, len(lines) + 1) if k == len(lines) or not lines[k].startswith("|"))
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[number:end])
    return header, rows


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


def signed(value):
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def plain(value):
    return signed(value).removeprefix("+")


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
    assert len(tables()) >= 10 and len(curves()) >= 6
