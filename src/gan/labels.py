"""The rule ``labels`` of a data set: null, ``folder``, a table of subjects, ``contrast``, or ``{slice: parts}``."""

from typing import Any


def label_of(rule: Any) -> str | None:
    """What ``rule`` labels: ``subject``, ``slice`` or ``contrast``; None without labels."""
    if rule is None or rule == "contrast":
        return rule
    return "slice" if isinstance(rule, dict) and "slice" in rule else "subject"
