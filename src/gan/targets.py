"""The words of a call of Snakemake: a target that nothing makes is one line with the names that there are."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from gan.errors import GanError
from gan.study import Study

FORCED = "--forcerun"


def asked_of(words: Sequence[str]) -> dict[str, list[str]]:
    """What a command line asks for: the words by the option that takes them, "" for targets. words: of the process; all
    empty if it is none of Snakemake. A workflow is read before Snakemake tells it."""
    if Path(words[0]).name not in ("snakemake", "__main__.py"):
        return {"": []}
    from snakemake.cli import get_argument_parser

    given = get_argument_parser().parse_args(words[1:])
    return {
        "": [*given.targets],
        FORCED: [*(given.forcerun or ())],
        "--until": [*(given.until or ())],
        "--omit-from": [*(given.omit_from or ())],
    }


def check_targets(study: Study, asked: Mapping[str, Iterable[str]], rules: Collection[str]) -> None:
    """`GanError` for a word that is no rule, no name of ``study`` and no path.

    asked: the words by the option that took them, "" for targets; rules: names of all, those of variants and data sets
    among them.
    """
    names = [*study.datasets, *study.variants]
    for option, words in asked.items():
        for word in sorted(words):
            if word not in rules and "/" not in word and "." not in word:
                raise GanError(f"{option} {word}: {_remedy(study, word, rules)}".lstrip())
    swallowed = sorted({*asked.get(FORCED, ())}.intersection(names))
    if swallowed and not [*asked.get("", ())]:
        forced = " ".join(sorted({*asked[FORCED]} - {*swallowed})) or "train"
        raise GanError(
            f"{FORCED} {swallowed[0]}: the option takes every word that follows it, and all cells would be made; put "
            f"the target in front of it: snakemake --cores 2 {' '.join(swallowed)} {FORCED} {forced}"
        )


def _remedy(study: Study, word: str, rules: Collection[str]) -> str:
    for kind in ("variants", "datasets"):
        if word in study.config[kind]:
            return f"a row of the config that study.{kind} does not name; add it there"
    near = difflib.get_close_matches(word, rules, n=1)
    meant = f"do you mean {near[0]}? " if near else ""
    known = ", ".join(["all", *study.datasets, *study.variants])
    return f"no target of the study {study.name}; {meant}allowed: {known}, a rule, or the path of a file to make"
