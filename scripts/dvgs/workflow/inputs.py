"""The input files that a config names. They are checked before anything runs."""

from pathlib import Path

from dvgs.errors import InputError
from dvgs.workflow.config import as_meant

# The files from which each kind of compendium is made. The first one holds its profiles.
NEEDED = {
    "level5": ("level5", "level4", "siginfo", "geneinfo"),
    "level4": ("level4", "instinfo", "siginfo", "geneinfo"),
    "profiles": ("profiles",),
}
NO_PATHS = ("directory", "columns", "counts", "download")  # keys of input that name no file


def input_kind(config: dict) -> str:
    """The key of NEEDED: signatures or single replicates of a LINCS release, or profiles of another compendium."""
    return "profiles" if "profiles" in config.get("input", {}) else f"level{config.get('level', 5)}"


def settle_selection(config: dict) -> None:
    """Make all profiles and genes the default selection of a compendium that is no LINCS release.

    Such a compendium may lack the columns by which a release is selected. config: as the user wrote it; it is changed
    in place. Call this before check_config, which fills in the defaults of a release.
    """
    given, selection = as_meant(config.get("input")), as_meant(config.get("select")) or {}
    if isinstance(given, dict) and "profiles" in given and isinstance(selection, dict):
        config["select"] = {"pert_type": None, "qc_pass": False, "genes": "all"} | selection


def _refuse_braces(field: str, path: str) -> None:
    if not {"{", "}"}.isdisjoint(path):
        raise InputError("config", field, f"{path!r} has a brace, which Snakemake takes for a wildcard", "rename it")


def _check_genes(choice: str) -> None:
    _refuse_braces("select.genes", choice)
    if choice not in ("landmark", "all") and not Path(choice).is_file():
        remedy = 'give "landmark", "all" or the path of a file with one gene id a line'
        raise InputError(choice, "select.genes", "no such file", remedy)


def _refuse_contradictions(kind: str, config: dict) -> None:
    """InputError for a key that would be ignored."""
    given = config["input"]
    if kind == "profiles":
        ignored = [f"input.{name}" for name in ("level5", "level4", "siginfo", "instinfo", "geneinfo") if name in given]
        ignored += ["level"] * (config.get("level", 5) != 5)
        beside = "input.profiles"
    else:
        ignored = [f"input.columns.{key}" for key, column in given.get("columns", {}).items() if column is not None]
        beside = f"input.{kind}, where tables say what the profiles are"
    for field in ignored:
        raise InputError("config", field, f"stands beside {beside}", "keep one of the two")


def input_paths(config: dict) -> dict[str, str]:
    """The files to read, {name: path}: those of NEEDED and all others that `input` names.

    A simulation makes them in resources/{compendium}. Otherwise each of them must exist or have a download. Raises
    InputError for a file that is missing, and for keys that would be ignored.
    """
    _check_genes(config.get("select", {}).get("genes", "all"))
    if "simulation" in config:
        return _simulated_paths(config)
    kind, given = input_kind(config), config.get("input", {})
    _refuse_gaps(kind, given)
    _refuse_contradictions(kind, config)
    paths = {name: Path(given["directory"]) / path for name, path in given.items() if name not in NO_PATHS and path}
    _check_files(paths, given.get("download", {}))
    return {name: str(path) for name, path in paths.items()}


def _simulated_paths(config: dict) -> dict[str, str]:
    if "input" in config:
        raise InputError("config", "input", "stands beside simulation", "keep one of the two")
    tables = ("siginfo", "instinfo", "geneinfo", "compoundinfo")
    endings = dict.fromkeys(("level5", "level4"), "gctx") | dict.fromkeys(tables, "txt")
    return {name: f"resources/{config['compendium']}/{name}_beta.{ending}" for name, ending in endings.items()}


def _refuse_gaps(kind: str, given: dict) -> None:
    """InputError for the first needed file that the config does not name."""
    for name in NEEDED[kind]:
        if name not in given:
            needed = ", ".join(NEEDED[kind])
            raise InputError("config", f"input.{name}", "missing", f"name {needed}; or profiles, for no LINCS release")


def _check_files(paths: dict[str, Path], downloads: dict) -> None:
    """InputError for a download of an unknown file, and for a path with a brace or without a file."""
    for name in sorted(set(downloads) - set(paths)):
        raise InputError("config", f"input.download.{name}", "no such input", f"known here: {', '.join(paths)}")
    for name, path in paths.items():
        _refuse_braces(f"input.{name}", str(path))
        if not path.exists() and name not in downloads:
            raise InputError(path, f"input.{name}", "no such file", "correct the path (see also input.directory)")
