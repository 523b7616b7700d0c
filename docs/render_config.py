"""Write docs/config.md from the schema and from the options of the families: `make docs`."""

import dataclasses
from pathlib import Path
from typing import Any

from gan.config import read_schema
from gan.families.registry import families

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
TARGET = ROOT / "docs/config.md"

HEAD = """# Every option

`config.yaml` is the study; a file given by `--configfile` overrides single keys of it. Unknown keys and values out of
range are refused before anything runs, and so are sources that are not there and patterns that match nothing. Faults of
YAML and keys given twice are reported with their line; `profiles/default`, which Snakemake reads by itself, checks the
files of `--configfile` (with `--workflow-profile none` Snakemake's own message names no line). The names in
`study.datasets` and `study.variants` are targets of `snakemake`
([cluster](cluster.md#one-variant-one-data-set-one-cell)).

`gan init my_study` writes this file, `demo.yaml`, the profiles and a short Snakefile, which loads the workflow of the
installed package, into an empty folder: a study outside the clone. Its `study.name` is that of the folder.

This page is written from the schema and the options themselves (`make docs`).

| key | type | default | meaning |
|---|---|---|---|
"""


def render() -> str:
    """The page as Markdown."""
    schema = read_schema(str(SCHEMA))
    rows = [row for name, part in schema["properties"].items() for row in _rows(name, part, schema)]
    text = HEAD + "\n".join(rows) + "\n"
    for family, (_, options) in families().items():
        text += f"\n## Options of the family `{family}`\n\n{options.__doc__}\n\n"
        text += "| option | default | allowed | meaning |\n|---|---|---|---|\n"
        for item in dataclasses.fields(options):
            text += f"| `{item.name}` | {_value(item.default)} | {_allowed(item.metadata)} | {item.metadata['doc']} |\n"
    return text


def _rows(key: str, part: dict[str, Any], root: dict[str, Any]) -> list[str]:
    if "$ref" in part:
        part = root["$defs"][part["$ref"].rsplit("/", 1)[1]] | part
    children = part.get("properties", {})
    rest = part.get("additionalProperties")
    rows = []
    if not children or "description" in part:
        rows.append(f"| `{key}` | {_type(part)} | {_default(part, children)} | {part.get('description', '')} |")
    for name, child in children.items():
        rows += _rows(f"{key}.{name}", child, root)
    if isinstance(rest, dict) and not children:
        rows += _rows(f"{key}.<name>", rest, root)
    return rows


def _type(part: dict[str, Any]) -> str:
    if "enum" in part:
        return " \\| ".join(_value(value) for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(_type(one) for one in part["anyOf"])
    if "const" in part:
        return f"`{part['const']}`"
    kind = part.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else kind


def _default(part: dict[str, Any], children: dict[str, Any]) -> str:
    return _value(part["default"]) if "default" in part and not children else ""


def _allowed(metadata: Any) -> str:
    if metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    low, high = metadata["low"], metadata["high"]
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"from {low:g}" if low is not None else ""


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        value = f"[{', '.join(map(str, value))}]"
    return "null" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
