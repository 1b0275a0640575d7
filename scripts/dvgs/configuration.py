"""The config: checked against its JSON schema and completed with the schema's defaults before anything runs."""

import difflib
import re
from pathlib import Path

import jsonschema
import yaml

from dvgs.errors import InputError

EXPONENT = r"[+-]?\d+(\.\d*)?[eE][+-]?\d+"  # 1e-3 is text to YAML


def check_config(config, schema_path, file="config"):
    """Complete a config with the defaults of a JSON schema and check it.

    config: the nested dict that Snakemake read; changed in place. schema_path: YAML. file: the name shown in messages.
    Raises InputError for the first key that is unknown, missing or out of range, naming it.
    """
    with open(schema_path) as handle:
        schema = yaml.safe_load(handle)
    _complete(config, schema)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        unknown_first = min(errors, key=lambda e: (e.validator != "additionalProperties", str(e.absolute_path)))
        raise _explain(unknown_first, schema, file)


def _complete(value, schema):
    """The value with defaults filled in and text read as what the schema wants."""
    types = _types(schema)
    if value is None and types == ["object"]:
        value = {}  # a key with nothing behind it
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = yaml.safe_load(yaml.safe_dump(part["default"]))  # a copy of its own
        for key in value:
            value[key] = _complete(value[key], _part(schema, key))
    elif isinstance(value, list):
        return [_complete(item, schema.get("items", {})) for item in value]
    elif isinstance(value, str) and types != ["string"]:
        value = _as_meant(value)
        if isinstance(value, str) and {"number", "integer"} & {*types} and re.fullmatch(EXPONENT, value):
            value = float(value)
    if isinstance(value, float) and "integer" in types and "number" not in types and value.is_integer():
        return int(value)  # JSON schema takes 1e3 for an integer, Python does not
    return value


def _as_meant(value):
    """Snakemake leaves what stands inside --config key='{...}' as text."""
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value  # the schema will say what is wrong with it


def _types(schema):
    if "type" not in schema:
        return ["string"]  # constants and choices are text
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def _part(schema, key):
    """The schema of one key or item."""
    if isinstance(key, int):
        return schema.get("items", {})
    other = schema.get("additionalProperties", {})
    return schema.get("properties", {}).get(key, other if isinstance(other, dict) else {})


def _explain(error, schema, file):
    path = list(error.absolute_path)
    meaning = schema["description"]
    for key in path:
        schema = _part(schema, key)
        meaning = schema.get("description", meaning)
    field = ".".join(map(str, path))
    if error.validator == "additionalProperties":
        known, patterns = list(error.schema.get("properties", {})), error.schema.get("patternProperties", {})
        others = (key for key in set(error.instance) - set(known) if not any(re.search(p, str(key)) for p in patterns))
        unknown = min(others, key=str)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return InputError(file, f"{field}.{unknown}" if field else str(unknown), "unknown key", remedy)
    return InputError(file, field or "(the whole file)", error.message, f"it means: {meaning.rstrip('.')}")


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
    given, selection = _as_meant(config.get("input")), _as_meant(config.get("select")) or {}
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
