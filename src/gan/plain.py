"""What YAML allows and a config does not: dates, infinite numbers, keys that are not text, recursive values."""

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from gan.errors import GanError


def plain(value: Any, path: str = "", parents: tuple[int, ...] = ()) -> Any:
    """A copy of ``value`` made of JSON's types alone, lists for tuples; `GanError` names the key that holds another."""
    where = f"config: {path or 'the top level'}"
    if id(value) in parents:
        raise GanError(f"{where} contains itself; write out what it refers to")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise GanError(f"{where} is {value}; give a finite number")
        return value
    below = (*parents, id(value))
    if isinstance(value, Mapping):
        return {_key(key, where): plain(part, f"{path}.{key}".lstrip("."), below) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, f"{path}.{place}", below) for place, part in enumerate(value)]
    kind = "a date" if isinstance(value, date) else f"of the type {type(value).__name__}"
    raise GanError(f"{where} is {value}, {kind}; put it in quotes if it is meant as text")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise GanError(f"{where} has the key {key}, which YAML does not read as text; put it in quotes")
    return key
