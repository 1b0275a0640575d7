"""The tables beside the matrices: siginfo and geneinfo, their names and missing values."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError

MISSING = ("", "-666", "-666.0", "-666.000000", "NA", "nan")
LONGEST_LIST = 255
OPTIONAL = ("cell_iname", "distil_ids", "pert_id")
NUMBERS = ("pert_dose", "pert_time", "nsample", "cc_q75", "qc_pass", "tas", "nearest_dose")


def read_table(path, field, columns):
    """A tab-separated table as a DataFrame of str, missing values as NaN.

    path: plain or gzipped, UTF-8 or Latin-1. columns: those that must be there, checked by name.
    Raises InputError for a missing or empty file and for missing columns.
    """
    if not Path(path).is_file():
        raise InputError(path, field, "no such file", "give the path of a tab-separated table")
    for encoding in ("utf-8", "latin-1"):
        try:
            frame = pd.read_csv(
                path,
                sep="\t",
                dtype=str,
                keep_default_na=False,
                na_values=list(MISSING),
                encoding=encoding,
                quoting=csv.QUOTE_NONE,
            )
            break
        except UnicodeDecodeError:
            continue
        except (pd.errors.EmptyDataError, pd.errors.ParserError, OSError, EOFError) as error:
            raise InputError(path, field, f"not a tab-separated table ({error})", "check the file") from error
    for column in columns:
        if column not in frame.columns:
            found = ", ".join(map(str, frame.columns[:6]))
            raise InputError(
                path,
                field,
                f"it has no column {column!r} (it begins with {found})",
                "give a LINCS 2020 table",
            )
    return frame


def _indexed(frame, column, path, field):
    ids = frame[column]
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0]) + 2
        raise InputError(path, field, f"line {row} has no {column}", "give every row an id")
    if ids.duplicated().any():
        first = ids[ids.duplicated()].iloc[0]
        raise InputError(path, field, f"{column} {first!r} stands twice", "make the ids unique")
    return frame.set_index(column)


def read_siginfo(path):
    """siginfo_beta.txt as a DataFrame indexed by `sig_id`.

    Columns as in the file; those in NUMBERS are float64 with NaN where missing, the rest is text.
    OPTIONAL columns are always there, NaN where unknown; `distil_ids` holds a signature's replicates, `|` between.
    """
    frame = _indexed(read_table(path, "siginfo", ["sig_id"]), "sig_id", path, "siginfo")
    frame.attrs["path"] = str(path)
    if "qc_pass" in frame.columns:
        frame["qc_pass"] = frame["qc_pass"].replace({"True": "1", "False": "0"})
    for column in frame.columns.intersection(NUMBERS):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    for column in [c for c in OPTIONAL if c not in frame.columns]:
        frame[column] = pd.Series(np.nan, index=frame.index, dtype=object)
    return frame


def read_geneinfo(path):
    """geneinfo_beta.txt as a DataFrame of text indexed by `gene_id`; `feature_space` says what was measured."""
    return _indexed(read_table(path, "geneinfo", ["gene_id", "feature_space"]), "gene_id", path, "geneinfo")


def explode_replicates(distil_ids):
    """Which profiles belong to which signature.

    distil_ids: Series of `|`-separated profile ids, indexed by sig_id. Returns a DataFrame with columns
    `sig_id, profile_id, cut`, one row per pair, in order; an id that a signature names twice counts once. `cut` says
    that the id may be a fragment: siginfo_beta.txt ends longer lists of replicates after 255 characters.
    """
    lists = distil_ids.dropna()
    pairs = lists.str.split("|").explode().rename("profile_id").rename_axis("sig_id").reset_index()
    longest = pairs["sig_id"].isin(lists.index[lists.str.len() == LONGEST_LIST])
    pairs["cut"] = longest & ~pairs["sig_id"].duplicated(keep="last")
    pairs = pairs[pairs["profile_id"] != ""]
    return pairs.drop_duplicates(["sig_id", "profile_id"], ignore_index=True)
