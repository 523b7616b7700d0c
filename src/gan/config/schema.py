"""The schema of a config: its defaults filled in, and what breaks it in one line."""

import copy
import functools
import json
import typing
from pathlib import Path
from typing import Any

from gan.errors import GanError
from gan.scoring.extractors import registry
from gan.utility.options import ARMS, FURTHER

KINDS = {  # the types of JSON in words
    "object": "a block of keys and values",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}

ADDRESS = "^https?://"  # as the schema has it

_NAMES = (
    "take small letters, digits and _ for it, at most 64 characters, and no name that results/ uses for something else"
)


@functools.cache
def read_schema(path: str) -> dict[str, Any]:
    """The schema of a config, with the extractors and the arms that there are."""
    import yaml

    schema = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    metrics = schema["properties"]["metrics"]
    extractors = metrics["properties"].pop("extractors") | {"items": {"enum": list(registry.choices({}))}}
    sections = {name: registry.schema(name) for name in registry.names()}
    metrics["properties"] = {"extractors": extractors, **sections, **metrics["properties"]}
    utility = schema["properties"]["utility"]["properties"]
    utility["arms"]["items"] = {"enum": list(ARMS)}
    utility["also"]["items"] = {"enum": list(FURTHER)}
    utility["primary"]["enum"] = [name for name, arm in ARMS.items() if not arm.control]
    return schema


def with_networks(schema: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """``schema``, by which ``config`` may choose the networks that it declares as extractors."""
    metrics = config.get("metrics")
    if not isinstance(metrics, dict) or not metrics.get(registry.DECLARED):
        return schema
    schema = copy.deepcopy(schema)
    extractors = schema["properties"]["metrics"]["properties"]["extractors"]
    extractors["items"] = {"enum": list(registry.choices(metrics))}
    return schema


def with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Fill in the ``default`` of every absent property, all the way down; of one with ``unless``, the name of another
    property, only where that one is absent, too."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]] | {k: v for k, v in schema.items() if k != "$ref"}
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for key, part in properties.items():
        if key not in value and "default" in part and value.get(part.get("unless")) is None:
            value[key] = json.loads(json.dumps(part["default"]))
    rest = schema.get("additionalProperties")
    for key in value:
        part = properties.get(key, rest if isinstance(rest, dict) else {})
        value[key] = with_defaults(value[key], part, root)
    return value


def validate(config: dict[str, Any], schema: dict[str, Any], below: str = "") -> None:
    """`GanError` with the first key of ``config`` that breaks ``schema``; below: where ``config`` is in the whole."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is None:
        return
    where = ".".join(str(part) for part in (*below.split("."), *error.absolute_path) if part != "")
    parent = typing.cast(dict[str, Any], error.schema)
    if error.validator == "additionalProperties":
        known = parent.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        key = f"{where}.{unknown}" if where else unknown
        raise GanError(f"config: unknown key {key}; allowed here: {', '.join(known)}")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        raise GanError(f"config: {where or 'the top level'} lacks the key {missing!r}")
    if error.validator == "pattern" and error.validator_value == ADDRESS:
        raise GanError(f"config: {where} is {error.instance!r}; it must begin with http:// or https://")
    if error.validator in ("pattern", "maxLength", "not") and isinstance(error.instance, str):
        raise GanError(f"config: {where or 'the top level'} has the name {error.instance!r}; {_NAMES}")
    if error.validator == "enum":
        allowed = ", ".join(one if isinstance(one, str) else json.dumps(one) for one in error.validator_value)
        raise GanError(f"config: {where} is {error.instance!r}; allowed: {allowed}")
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        value = "empty" if error.instance is None else json.dumps(error.instance)
        raise GanError(f"config: {where} is {value}; it must be {' or '.join(KINDS[kind] for kind in kinds)}")
    raise GanError(f"config: {where}: {error.message}")
