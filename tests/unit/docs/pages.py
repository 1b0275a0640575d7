"""What the tests of the studies' pages share: where the pages are, what their tables call a method, how they print."""

import re

from conftest import ROOT

STUDIES = ROOT / "docs/studies"
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


def table_at(lines: list[str], number: int) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table that begins at a line."""
    end = next(k for k in range(number, len(lines) + 1) if k == len(lines) or not lines[k].startswith("|"))
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[number:end])
    return header, rows


def table_of(page: str, beginning: str, number: int = 0) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a page's table, the first (0) or a later one whose header line begins so."""
    lines = (STUDIES / page).read_text().splitlines()
    return table_at(lines, [place for place, line in enumerate(lines) if line.startswith(beginning)][number])


def signed(value: float) -> str:
    """A number with three decimals, its sign and a true minus."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def plain(value: float) -> str:
    """A number with three decimals, a true minus and no plus."""
    return signed(value).removeprefix("+")


def bare(value: float) -> str:
    """A number with three decimals, a true minus and no zero before the point."""
    return plain(value).replace("0.", ".", 1)


def numbers(cell: str) -> list[float]:
    """The numbers of a cell, in their order."""
    return [float(text) for text in re.findall(r"-?[\d.]*\d", cell.replace("\N{MINUS SIGN}", "-"))]
