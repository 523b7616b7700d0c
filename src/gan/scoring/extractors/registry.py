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

DECLARED = "network"  # the kind whose extractors a config names itself


@functools.cache
def names() -> tuple[str, ...]:
    """Every kind of extractor: the folders. All but `DECLARED` are extractors of that name."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(extractors.__path__) if found.ispkg))


def choices(metrics: dict[str, Any]) -> tuple[str, ...]:
    """Every extractor that ``metrics.extractors`` may name: the kinds, and the networks that ``metrics`` declares."""
    declared = metrics.get(DECLARED)
    own = tuple(declared) if isinstance(declared, dict) else ()
    return tuple(name for name in names() if name != DECLARED) + own


def kind(name: str) -> str:
    """The kind of the extractor ``name``, one of `choices`."""
    return name if name in names() else DECLARED


def section(metrics: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings of the extractor ``name`` in ``metrics`` of the config."""
    return metrics[name] if kind(name) == name else {**metrics[DECLARED][name], "name": name}


def options_class(name: str) -> type[ExtractorOptions]:
    """The options of the kind ``name``; `GanError` if there is none."""
    if name not in names():
        raise GanError(f"metrics.extractors: {name!r} is not known; allowed: {', '.join(names())}")
    return importlib.import_module(f"{extractors.__name__}.{name}.options").Options


def options(name: str, spec: dict[str, Any]) -> ExtractorOptions:
    """The options of the section ``name`` of ``metrics``, with defaults; `GanError` for a key that is not known."""
    allowed = {field.name for field in dataclasses.fields(options_class(name))}
    if unknown := set(spec) - allowed:
        raise GanError(f"metrics.{name}: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(allowed))}")
    required = (field.name for field in dataclasses.fields(options_class(name)) if not _has_default(field))
    if missing := [key for key in required if key not in spec]:
        raise GanError(f"metrics.{name}: lacks the key {missing[0]!r}")
    return options_class(name)(**spec)


def needed_file(name: str, spec: dict[str, Any]) -> FileOptions | None:
    """The options of the extractor ``name`` if it needs a file; None for others."""
    known = options(kind(name), spec)
    return known if isinstance(known, FileOptions) else None


def model(name: str) -> ModuleType:
    """``make`` and ``load`` of the extractor ``name``. Needs torch."""
    return importlib.import_module(f"{extractors.__name__}.{name}.model")


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of the section ``name`` of ``metrics``; of `DECLARED` that of sections by name."""
    known = options_class(name)
    shown = [field for field in dataclasses.fields(known) if field.metadata]
    required = [field.name for field in shown if not _has_default(field) or field.name in known.REQUIRED]
    properties: dict[str, Any] = {}
    for field in shown:
        default = {} if field.name in required else {"default": field.default}
        properties[field.name] = {**field.metadata, **default}
    own: dict[str, Any] = {"additionalProperties": False, "properties": properties}
    if name == DECLARED:
        named = {"pattern": "^[a-z][a-z0-9_]*\\Z", "maxLength": 64, "not": {"enum": [*names(), facts.PIXELS]}}
        own = {"propertyNames": named, "additionalProperties": {"type": "object", "required": required, **own}}
    return {"type": "object", "default": {}, "description": known.SENTENCE, **own}


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING


def leading(names: Sequence[str]) -> int:
    """The index of the extractor that leads among ``names``: the first one that is not descriptive, if there is one.

    It chooses the snapshots, and its metrics alone carry words of evidence.
    """
    return next((place for place, name in enumerate(names) if not options_class(kind(name)).DESCRIPTIVE), 0)


def descriptive(id: str) -> bool:
    """Whether scores of the extractor with that ``id`` are for reading alone where another extractor leads."""
    return (name := _named(id)) is not None and options_class(name).DESCRIPTIVE


def metric_name(metric: str, name: str) -> str:
    """A metric's name in every table: ``fid`` and ``kid`` of Inception alone, else the metric and its extractor."""
    return facts.column(metric, name)


def published(name: str) -> bool:
    """Whether the extractor ``name`` is the one of published scores, so that they are computed with it."""
    return options_class(kind(name)).PUBLISHED


def axes(name: str) -> int:
    """Of what the extractor ``name`` sees: 2 of images and of the slices of volumes, 3 of whole volumes."""
    return options_class(kind(name)).AXES


def sees_volumes(id: str) -> bool:
    """Whether scores of the extractor with that ``id`` are of whole volumes, where the data are volumes; pixels are."""
    return id == facts.PIXELS or ((name := _named(id)) is not None and options_class(name).AXES == 3)


def sentence(id: str) -> str | None:
    """Describe the extractor with that ``id``; None if it is not known, as in files of another version."""
    return options_class(name).SENTENCE if (name := _named(id)) else None


def _named(id: str) -> str | None:
    """The extractor with that ``id``, which begins with its name."""
    return next((name for name in names() if name == id.partition("-")[0]), None)
