"""The config: checked against its JSON schema and completed with the schema's defaults before anything runs."""

import difflib
from pathlib import Path

import jsonschema
import yaml

from dvgs.errors import InputError


def check_config(config, schema_path, file="config"):
    """Complete a config with the defaults of a JSON schema and check it.

    config: the nested dict that Snakemake read; changed in place. schema_path: YAML. file: the name shown in messages.
    Raises InputError for the first key that is unknown, missing or out of range, naming it.
    """
    with open(schema_path) as handle:
        schema = yaml.safe_load(handle)
    _fill(config, schema)
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda e: (e.validator != "additionalProperties", str(e.path)))
    if errors:
        raise _explain(errors[0], file)


def _fill(config, schema):
    for key, part in schema.get("properties", {}).items():
        if key not in config and "default" in part:
            config[key] = yaml.safe_load(yaml.safe_dump(part["default"]))  # a copy of its own
        if isinstance(config.get(key), dict):
            _fill(config[key], part)
    if isinstance(schema.get("additionalProperties"), dict):
        for key, value in config.items():
            if key not in schema.get("properties", {}) and isinstance(value, dict):
                _fill(value, schema["additionalProperties"])


def _explain(error, file):
    field = ".".join(str(part) for part in error.absolute_path)
    remedy = error.schema.get("description", "see config/README.md").rstrip(".")
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))[0]
        near = difflib.get_close_matches(str(unknown), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        field = f"{field}.{unknown}" if field else str(unknown)
        return InputError(file, field, "unknown key", remedy)
    return InputError(file, field or "(the whole file)", error.message, f"it means: {remedy}")


def input_paths(config):
    """The files to read: dict `level5, level4, siginfo, geneinfo` (and `instinfo`, when simulated) of paths.

    With a simulation they lie in resources/{compendium} and are made there; otherwise they must exist.
    """
    if "simulation" in config:
        if "input" in config:
            raise InputError("config", "input", "stands beside simulation", "keep one of the two")
        names = {"level5": "gctx", "level4": "gctx", "siginfo": "txt", "instinfo": "txt", "geneinfo": "txt"}
        return {name: f"resources/{config['compendium']}/{name}_beta.{end}" for name, end in names.items()}
    if "input" not in config:
        raise InputError("config", "input", "missing", "name level5, level4, siginfo and geneinfo of a release")
    directory = Path(config["input"]["directory"])
    paths = {name: directory / path for name, path in config["input"].items() if name != "directory"}
    for name, path in paths.items():
        if not path.is_file():
            raise InputError(path, f"input.{name}", "no such file", "correct the path (see also input.directory)")
    return {name: str(path) for name, path in paths.items()}
