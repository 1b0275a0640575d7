"""The config: checked against its JSON schema and completed with the schema's defaults before anything runs."""

import difflib
import re

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
        value = as_meant(value)
        if isinstance(value, str) and {"number", "integer"} & {*types} and re.fullmatch(EXPONENT, value):
            value = float(value)
    if isinstance(value, float) and "integer" in types and "number" not in types and value.is_integer():
        return int(value)  # JSON schema takes 1e3 for an integer, Python does not
    return value


def as_meant(value):
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
