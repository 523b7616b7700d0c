"""Full references (references.toml) of the publications that texts of the program name as ``(Heusel et al. 2017)``."""

import functools
import re
import tomllib
from importlib import resources

_NAMED = re.compile(r"\(((?:[^\W\d_][\w-]+ )+et al\. \d{4}[a-z]?(?:[,;] [^()]*)?)\)")


@functools.cache
def references() -> dict[str, str]:
    """The full reference of each name."""
    return tomllib.loads(resources.files("gan.report").joinpath("references.toml").read_text(encoding="utf-8"))


def named(text: str) -> list[str]:
    """The publications that ``text`` names, as ``Heusel et al. 2017``, in its order; ``2020a, 2020b`` are two."""
    found: dict[str, None] = {}
    for inside in _NAMED.findall(text):
        author = ""
        for part in re.split(r"[,;] ", inside):
            if " et al. " in part:
                author, _, year = part.rpartition(" ")
            else:
                year = part
            if author and re.fullmatch(r"\d{4}[a-z]?", year):
                found[f"{author} {year}"] = None
    return list(found)
