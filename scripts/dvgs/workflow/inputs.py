"""The input files that a config names, checked before anything runs."""

from pathlib import Path

from dvgs.errors import InputError
from dvgs.workflow.config import as_meant

# What each kind of compendium is made from, the file of its profiles first.
NEEDED = {
    "level5": ("level5", "level4", "siginfo", "geneinfo"),
    "level4": ("level4", "instinfo", "siginfo", "geneinfo"),
    "profiles": ("profiles",),
}
NO_PATHS = ("directory", "columns", "counts", "download")  # of the keys of input


def input_kind(config):
    """Which of NEEDED the compendium is: signatures or single replicates of a LINCS release, or another's profiles."""
    return "profiles" if "profiles" in config.get("input", {}) else f"level{config.get('level', 5)}"


def settle_selection(config):
    """What a LINCS release is selected by, other compendia need not have; there all profiles and genes are the default.

    config: as the user wrote it, changed in place. To be called before check_config fills in the defaults.
    """
    given, selection = as_meant(config.get("input")), as_meant(config.get("select")) or {}
    if isinstance(given, dict) and "profiles" in given and isinstance(selection, dict):
        config["select"] = {"pert_type": None, "qc_pass": False, "genes": "all"} | selection


def _refuse_braces(field, path):
    if not {"{", "}"}.isdisjoint(path):
        raise InputError("config", field, f"{path!r} has a brace, which Snakemake takes for a wildcard", "rename it")


def _check_genes(choice):
    _refuse_braces("select.genes", choice)
    if choice not in ("landmark", "all") and not Path(choice).is_file():
        remedy = 'give "landmark", "all" or the path of a file with one gene id a line'
        raise InputError(choice, "select.genes", "no such file", remedy)


def _refuse_contradictions(kind, config):
    """InputError for what would be ignored."""
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


def input_paths(config):
    """The files to read: dict of paths by name, those of NEEDED and what else `input` names.

    With a simulation they lie in resources/{compendium} and are made there; otherwise each must exist or have a
    download.
    """
    _check_genes(config.get("select", {}).get("genes", "all"))
    if "simulation" in config:
        if "input" in config:
            raise InputError("config", "input", "stands beside simulation", "keep one of the two")
        names = {"level5": "gctx", "level4": "gctx", "siginfo": "txt", "instinfo": "txt", "geneinfo": "txt"}
        names |= {"compoundinfo": "txt"}
        return {name: f"resources/{config['compendium']}/{name}_beta.{end}" for name, end in names.items()}
    kind, given = input_kind(config), config.get("input", {})
    for name in NEEDED[kind]:
        if name not in given:
            needed = ", ".join(NEEDED[kind])
            raise InputError("config", f"input.{name}", "missing", f"name {needed}; or profiles, for no LINCS release")
    _refuse_contradictions(kind, config)
    paths = {name: Path(given["directory"]) / path for name, path in given.items() if name not in NO_PATHS and path}
    downloads = given.get("download", {})
    for name in sorted(set(downloads) - set(paths)):
        raise InputError("config", f"input.download.{name}", "no such input", f"known here: {', '.join(paths)}")
    for name, path in paths.items():
        _refuse_braces(f"input.{name}", str(path))
        if not path.exists() and name not in downloads:
            raise InputError(path, f"input.{name}", "no such file", "correct the path (see also input.directory)")
    return {name: str(path) for name, path in paths.items()}
