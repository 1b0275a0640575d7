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
    _complete(config, schema)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        unknown_first = min(errors, key=lambda e: (e.validator != "additionalProperties", str(e.absolute_path)))
        raise _explain(unknown_first, schema, file)


def _complete(value, schema):
    """The value with defaults filled in and text read as what the schema wants."""
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = yaml.safe_load(yaml.safe_dump(part["default"]))  # a copy of its own
        for key in value:
            value[key] = _complete(value[key], _part(schema, key))
    elif isinstance(value, list):
        return [_complete(item, schema.get("items", {})) for item in value]
    elif isinstance(value, str) and _types(schema) != ["string"]:
        # Snakemake leaves what stands inside --config key='{...}' as text.
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return value  # the schema will say what is wrong with it
    return value


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
        known = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known), key=str)[0]
        near = difflib.get_close_matches(str(unknown), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return InputError(file, f"{field}.{unknown}" if field else str(unknown), "unknown key", remedy)
    return InputError(file, field or "(the whole file)", error.message, f"it means: {meaning.rstrip('.')}")


def input_paths(config):
    """The files to read: dict `level5, level4, siginfo, geneinfo` of paths, `compoundinfo` where there is one.

    When simulated, `instinfo` as well.

    With a simulation they lie in resources/{compendium} and are made there; otherwise they must exist.
    """
    if "simulation" in config:
        if "input" in config:
            raise InputError("config", "input", "stands beside simulation", "keep one of the two")
        names = {"level5": "gctx", "level4": "gctx", "siginfo": "txt", "instinfo": "txt", "geneinfo": "txt"}
        names |= {"compoundinfo": "txt"}
        return {name: f"resources/{config['compendium']}/{name}_beta.{end}" for name, end in names.items()}
    if "input" not in config:
        raise InputError("config", "input", "missing", "name level5, level4, siginfo and geneinfo of a release")
    directory = Path(config["input"]["directory"])
    paths = {name: directory / path for name, path in config["input"].items() if name != "directory" and path}
    for name, path in paths.items():
        if not path.is_file():
            raise InputError(path, f"input.{name}", "no such file", "correct the path (see also input.directory)")
    return {name: str(path) for name, path in paths.items()}
