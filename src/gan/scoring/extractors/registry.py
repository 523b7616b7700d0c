"""The available extractors: the folders next to this file. It imports only their options, without torch."""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from gan.errors import GanError
from gan.metrics import facts
from gan.scoring import extractors
from gan.scoring.extractors.contract import ExtractorOptions, FileOptions


@functools.cache
def names() -> tuple[str, ...]:
    """Every extractor, as ``metrics.extractors`` of the config calls it."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(extractors.__path__) if found.ispkg))


def options_class(name: str) -> type[ExtractorOptions]:
    """The options of the extractor ``name``; `GanError` if there is none."""
    if name not in names():
        raise GanError(f"metrics.extractors: {name!r} is not known; allowed: {', '.join(names())}")
    return importlib.import_module(f"{extractors.__name__}.{name}.options").Options


def options(name: str, spec: dict[str, Any]) -> ExtractorOptions:
    """The options of the section ``name`` of ``metrics``, with defaults; `GanError` for a key that is not known."""
    allowed = {field.name for field in dataclasses.fields(options_class(name))}
    if unknown := set(spec) - allowed:
        raise GanError(f"metrics.{name}: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(allowed))}")
    return options_class(name)(**spec)


def needed_file(name: str, spec: dict[str, Any]) -> FileOptions | None:
    """The options of an extractor that needs a file; None for others."""
    known = options(name, spec)
    return known if isinstance(known, FileOptions) else None


def model(name: str) -> ModuleType:
    """``make`` and ``load`` of the extractor ``name``. Needs torch."""
    return importlib.import_module(f"{extractors.__name__}.{name}.model")


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of the section ``name`` of ``metrics``."""
    known = options_class(name)
    fields = {field.name: {**field.metadata, "default": field.default} for field in dataclasses.fields(known)}
    return {
        **{"type": "object", "default": {}, "description": known.SENTENCE},
        **{"additionalProperties": False, "properties": fields},
    }


def leading(names: Sequence[str]) -> int:
    """The index of the extractor that leads among ``names``: the first one that is not descriptive, if there is one.

    It chooses the snapshots, and its metrics alone carry words of evidence.
    """
    return next((place for place, name in enumerate(names) if not options_class(name).DESCRIPTIVE), 0)


def descriptive(id: str) -> bool:
    """Whether scores of the extractor with that ``id`` are for reading alone where another extractor leads."""
    return (name := _named(id)) is not None and options_class(name).DESCRIPTIVE


def metric_name(metric: str, name: str) -> str:
    """A metric's name in every table: ``fid`` and ``kid`` of Inception alone, else the metric and its extractor."""
    return facts.column(metric, name)


def published(name: str) -> bool:
    """Whether the extractor ``name`` is the one of published scores, so that they are computed with it."""
    return options_class(name).PUBLISHED


def sentence(id: str) -> str | None:
    """Describe the extractor with that ``id``; None if it is not known, as in files of another version."""
    return options_class(name).SENTENCE if (name := _named(id)) else None


def _named(id: str) -> str | None:
    """The extractor with that ``id``, which begins with its name."""
    return next((name for name in names() if name == id.partition("-")[0]), None)
