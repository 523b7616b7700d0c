"""The templates of the documents: what is not known is said as such, and text from files is escaped."""

from collections.abc import Mapping
from typing import Any

import jinja2

from gan.report.table import number
from gan.report.view import escape

UNKNOWN = "not declared"


def shown(value: Any) -> str:
    """A value as text of a document; `UNKNOWN` for None and for what is empty."""
    if isinstance(value, Safe):
        return value
    if value is None or value == "" or value == [] or value == {}:
        return UNKNOWN
    return number(value) if isinstance(value, float) else escape(plain(value))


def plain(value: Any) -> str:
    """A value in words: ``a 1, b (c 2)`` for an object, ``1, 2`` for a list, ``none`` for None within them."""
    if isinstance(value, dict):
        parts = [
            f"{key} ({plain(part)})" if isinstance(part, dict) else f"{key} {plain(part)}"
            for key, part in value.items()
        ]
        return ", ".join(parts) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


class Safe(str):
    """Text that is Markdown already."""


def render(name: str, values: Mapping[str, Any]) -> str:
    """The file ``name`` of gan/governance/templates with ``values``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gan.governance"),
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(**values)
