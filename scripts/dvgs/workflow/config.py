"""The config: it is completed with the defaults of its JSON schema, and checked, before anything runs."""

import copy
import difflib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from dvgs.errors import InputError

EXPONENT = r"[+-]?\d+(\.\d*)?[eE][+-]?\d+"  # YAML reads 1e-3 as text


def check_config(config: dict, schema_path: str | Path, file: str | Path = "config") -> None:
    """Complete a config with the defaults of a JSON schema and check it.

    config: the nested dict that Snakemake read; it is changed in place. schema_path: a YAML file. file: the name in
    messages. Raises an InputError that names the first key that is unknown, missing or out of range.
    """
    with open(schema_path) as handle:
        schema = yaml.safe_load(handle)
    _complete(config, schema)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        unknown_first = min(errors, key=lambda e: (e.validator != "additionalProperties", str(e.absolute_path)))
        raise _explain(unknown_first, schema, file)


def _complete(value: Any, schema: dict) -> Any:
    """The value with its defaults, and with text converted to the types of the schema. Dicts are changed in place."""
    types = _types(schema)
    if value is None and types == ["object"]:
        value = {}  # a key without a value
    if isinstance(value, dict):
        return _complete_keys(value, schema)
    if isinstance(value, list):
        return [_complete(item, schema.get("items", {})) for item in value]
    return _as_typed(value, types)


def _complete_keys(values: dict, schema: dict) -> dict:
    for key, below in schema.get("properties", {}).items():
        if key not in values and "default" in below:
            values[key] = copy.deepcopy(below["default"])
    for key in values:
        values[key] = _complete(values[key], _schema_of(schema, key))
    return values


def _as_typed(value: Any, types: list[str]) -> Any:
    """A single value: text, and numbers such as 1e3, as one of the types of the schema where they can be that."""
    if isinstance(value, str) and types != ["string"]:
        value = as_meant(value)
        if isinstance(value, str) and {"number", "integer"} & {*types} and re.fullmatch(EXPONENT, value):
            value = float(value)
    if isinstance(value, float) and "integer" in types and "number" not in types and value.is_integer():
        return int(value)  # 1e3 is an integer to JSON schema, and a float to Python
    return value


def as_meant(value: Any) -> Any:
    """The value of a text as YAML reads it. Snakemake keeps what stands inside --config key='{...}' as text."""
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value  # the check against the schema will report it


def _types(schema: dict) -> list[str]:
    if "type" not in schema:
        return ["string"]  # choices (enum) are text
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def _schema_of(schema: dict, key: Hashable) -> dict:
    """The schema of one key or item."""
    if isinstance(key, int):
        return schema.get("items", {})
    other = schema.get("additionalProperties", {})
    return schema.get("properties", {}).get(key, other if isinstance(other, dict) else {})


def _explain(error: jsonschema.ValidationError, schema: dict, file: str | Path) -> InputError:
    """The error of jsonschema as one that names the key and says what it means."""
    path = list(error.absolute_path)
    field = ".".join(map(str, path))
    if error.validator == "additionalProperties":
        return _explain_unknown(error, field, file)
    meaning = schema["description"]
    for key in path:
        schema = _schema_of(schema, key)
        meaning = schema.get("description", meaning)
    return InputError(file, field or "(the whole file)", error.message, f"it means: {meaning.rstrip('.')}")


def _explain_unknown(error: jsonschema.ValidationError, field: str, file: str | Path) -> InputError:
    """The error for the first unknown key of a field, with a known one that looks like it."""
    here: Any = error.schema
    known, patterns = list(here.get("properties", {})), here.get("patternProperties", {})
    given: Any = error.instance
    others = (key for key in set(given) - set(known) if not any(re.search(p, str(key)) for p in patterns))
    unknown = min(others, key=str)
    near = difflib.get_close_matches(str(unknown), known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return InputError(file, f"{field}.{unknown}" if field else str(unknown), "unknown key", remedy)
