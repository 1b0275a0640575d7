"""The tables beside the matrices: siginfo, instinfo and geneinfo, their names, units and missing values."""

import csv
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.progress import logger

MISSING_NUMBER = -666  # what CMap writes for "missing"; no measurement is that low
MISSING = ("", f"{MISSING_NUMBER}", "-666.0", "-666.000000", "NA", "nan")
LONGEST_LIST = 255
COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")
OPTIONAL = ("cell_iname", "distil_ids", "pert_id")
NUMBERS = ("pert_dose", "pert_time", "nsample", "cc_q75", "qc_pass", "tas", "nearest_dose")
# What GEO's releases (GSE92742, GSE70138) call the columns of LINCS 2020.
GEO_NAMES = {
    "inst_id": "sample_id",
    "distil_id": "distil_ids",
    "distil_cc_q75": "cc_q75",
    "pert_iname": "cmap_name",
    "cell_id": "cell_iname",
    "rna_plate": "det_plate",
    "pr_gene_id": "gene_id",
    "pr_gene_symbol": "gene_symbol",
}
# Molar units in uM. R writes a micro sign that it cannot show as <b5>.
UNITS = {"um": 1.0, "µm": 1.0, "μm": 1.0, "<b5>m": 1.0, "nm": 1e-3, "mm": 1e3}


def read_table(path: str | Path, field: str, columns: Sequence[str]) -> pd.DataFrame:
    """A tab-separated table as a DataFrame of str, missing values as NaN.

    path: plain or gzipped, UTF-8 or Latin-1. columns: those that must be there, checked by name. Names that GEO's
    releases use become those of LINCS 2020.
    Raises InputError for a missing or empty file and for missing columns.
    """
    if not Path(path).is_file():
        raise InputError(path, field, "no such file", "give the path of a tab-separated table")
    try:
        try:
            frame = _read_text(path, "utf-8")
        except UnicodeDecodeError:
            frame = _read_text(path, "latin-1")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, OSError, EOFError, zlib.error) as error:
        raise InputError(path, field, f"not a tab-separated table ({error})", "check the file") from error
    if _is_cut_off(path, len(frame.columns)):
        raise InputError(path, field, "it ends within a line", "fetch or copy the file again")
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first column for an index then
        problem = "its rows have more fields than the header"
        raise InputError(path, field, problem, "take out tabs at the ends of lines, or name every column")
    frame = frame.rename(columns={old: new for old, new in GEO_NAMES.items() if new not in frame.columns})
    for column in columns:
        if column not in frame.columns:
            found = ", ".join(map(str, frame.columns[:6]))
            raise InputError(
                path,
                field,
                f"it has no column {column!r} (it begins with {found})",
                "give a table of LINCS 2020 or GEO",
            )
    return frame


def _read_text(path: str | Path, encoding: str) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep="\t",
        dtype=str,
        keep_default_na=False,
        na_values=list(MISSING),
        encoding=encoding,
        quoting=csv.QUOTE_NONE,
    )


def _is_cut_off(path: str | Path, n_fields: int) -> bool:
    """Whether a plain file ends within a line, before its last field; of a compressed one the reader finds out."""
    with open(path, "rb") as file:
        file.seek(max(0, Path(path).stat().st_size - 2**20))
        last = file.read().rpartition(b"\n")[2]
    return Path(path).suffix not in COMPRESSED and last != b"" and last.count(b"\t") + 1 < n_fields


def rename_columns(frame: pd.DataFrame, reserved: Collection[str]) -> pd.DataFrame:
    """A DataFrame whose reserved columns are called file_{name}, with a number at the end where that is taken.

    So are those with a slash, which HDF5 does not allow in names; it becomes an underscore.
    """
    names: dict[str, str] = {}
    taken = {*frame.columns, *reserved}
    for name in frame.columns:
        if name in reserved or "/" in name:
            wanted = names[name] = f"file_{name}".replace("/", "_")
            number = 1
            while names[name] in taken:
                number += 1
                names[name] = f"{wanted}_{number}"
            taken.add(names[name])
    return frame.rename(columns=names)


def _indexed(frame: pd.DataFrame, column: str, path: str | Path, field: str) -> pd.DataFrame:
    ids = frame[column]
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0]) + 2
        raise InputError(path, field, f"line {row} has no {column}", "give every row an id")
    if ids.duplicated().any():
        first = ids[ids.duplicated()].iloc[0]
        raise InputError(path, field, f"{column} {first!r} occurs twice", "make the ids unique")
    return frame.set_index(column)


def read_siginfo(path: str | Path) -> pd.DataFrame:
    """siginfo_beta.txt as a DataFrame indexed by `sig_id`.

    Columns as in the file; those in NUMBERS are float64 with NaN where missing, the rest is text.
    OPTIONAL columns are always there, NaN where unknown; `distil_ids` holds a signature's replicates, `|` between.
    Molar doses are in uM, whatever the file's unit, and all units in one spelling.
    """
    return _read_profiles(path, "siginfo", "sig_id")


def read_instinfo(path: str | Path) -> pd.DataFrame:
    """instinfo_beta.txt as a DataFrame indexed by `sample_id`: a row per replicate (level 4), as read_siginfo."""
    return _read_profiles(path, "instinfo", "sample_id")


def _read_profiles(path: str | Path, field: str, ids: str) -> pd.DataFrame:
    frame = _indexed(read_table(path, field, [ids]), ids, path, field)
    frame.attrs["path"] = str(path)
    for column in [c for c in OPTIONAL if c not in frame.columns]:
        frame[column] = pd.Series(np.nan, index=frame.index, dtype=object)
    return uniform(frame)


def uniform(frame: pd.DataFrame) -> pd.DataFrame:
    """Metadata of profiles, missing values as NaN, with NUMBERS as numbers, doses in uM and one spelling of units.

    A column of NUMBERS that holds something else as well is kept as it is, too, as file_{name}.
    """
    for column in frame.columns.intersection(NUMBERS):
        given = frame[column]
        frame[column] = pd.to_numeric(_as_flags(given) if column == "qc_pass" else given, errors="coerce")
        others = given[given.notna() & frame[column].isna()]
        if len(others):
            kept = rename_columns(given.to_frame(), frame.columns)
            what = (
                f"{len(others)} of {column} are no numbers and count as missing, the first is {str(others.iloc[0])!r}"
            )
            logger.warning("%s; %s has them as they are", what, kept.columns[0])
            frame[kept.columns[0]] = kept
    return _with_uniform_doses(frame)


def _as_flags(column: pd.Series) -> pd.Series:
    """1 for yes and 0 for no, whether a column has numbers, booleans or text as Python or R writes them."""
    return column.astype(str).str.strip().str.lower().replace({"true": "1", "t": "1", "false": "0", "f": "0"})


def _with_uniform_doses(frame: pd.DataFrame) -> pd.DataFrame:
    if "pert_idose" in frame.columns and "pert_dose" not in frame.columns:  # "10 uM"
        parts = frame["pert_idose"].astype(str).str.extract(r"^\s*([0-9.eE+-]+)\s*(\S+)\s*$")
        frame["pert_dose"], frame["pert_dose_unit"] = pd.to_numeric(parts[0], errors="coerce"), parts[1]
    if {"pert_dose", "pert_dose_unit"} <= set(frame.columns):
        unit = frame["pert_dose_unit"].astype(str).str.strip().str.lower().where(frame["pert_dose_unit"].notna())
        frame["pert_dose_unit"] = unit.mask(unit.isin(UNITS), "uM")
        frame["pert_dose"] = frame["pert_dose"] * unit.map(UNITS).astype(float).fillna(1)
    return frame


def doses_in_micromolar(obs: pd.DataFrame) -> pd.Series:
    """`pert_dose` of siginfo as numbers, NaN where `pert_dose_unit` is another than µM; without a unit it is µM."""
    unit = obs["pert_dose_unit"]
    return pd.to_numeric(obs["pert_dose"], errors="coerce").where(unit.isna() | (unit == "uM"))


def read_geneinfo(path: str | Path) -> pd.DataFrame:
    """geneinfo_beta.txt as a DataFrame of text indexed by `gene_id`; `feature_space` says what was measured."""
    frame = read_table(path, "geneinfo", ["gene_id"])
    if "pr_is_lm" in frame.columns and "feature_space" not in frame.columns:  # GEO's releases
        frame["feature_space"] = np.where(frame["pr_is_lm"] == "1", "landmark", "inferred")
    frame = _indexed(frame, "gene_id", path, "geneinfo")
    frame.attrs["path"] = str(path)
    return frame


def explode_replicates(distil_ids: pd.Series) -> pd.DataFrame:
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
