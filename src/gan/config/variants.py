"""The rules of a variant's row: its options, budget, baseline, and what it starts from."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from gan.errors import GanError
from gan.families.options import Options, unfit
from gan.families.registry import defaults, families, make_options, options_of
from gan.pyramid import Pyramid


def in_use(config: dict[str, Any]) -> dict[str, None]:
    """The variants of the study, and those that one of them starts from or works on: others need not suit
    ``training``."""
    names = dict.fromkeys(config["study"]["variants"])
    waiting = list(names)
    while waiting:
        row = config["variants"][waiting.pop()]
        for source in ((row["init_from"] or {}).get("variant"), options_in(row).works_on()):
            if source and source not in names:
                names[source] = None
                waiting.append(source)
    return names


def options_in(row: dict[str, Any]) -> Options:
    """The options of a row, complete."""
    return make_options(row["family"], row["options"])


def check_variant(name: str, row: dict[str, Any]) -> None:
    """A row by itself."""
    family = row["family"]
    if family not in families():
        raise GanError(f"config: variants.{name}.family is {family!r}; allowed: {', '.join(families())}")
    known = options_of(family)
    fields = {item.name: item for item in dataclasses.fields(known)}
    types_of = typing.get_type_hints(known)
    for key, value in row["options"].items():
        where = f"variants.{name}.options.{key}"
        if key not in fields:
            raise GanError(f"config: unknown key {where}; allowed here: {', '.join(fields)}")
        _check_option(where, value, types_of[key], fields[key].metadata)
    if row["terms"] and not brings(row):
        raise GanError(
            f"config: variants.{name}.terms is set, but the row brings nothing from elsewhere; remove it: the terms of "
            f"its data are set in datasets"
        )
    try:
        known(**row["options"])
    except GanError as error:
        raise GanError(f"config: variants.{name}.options: {error}") from error


def brings(row: dict[str, Any]) -> str | None:
    """What a row brings from outside of its study, in words; None if all of it is made of its data sets."""
    if row["init_from"] and row["init_from"]["path"]:
        return "weights"
    return "images" if options_of(row["family"]).FROM_ELSEWHERE else None


def check_effect(name: str, row: dict[str, Any]) -> None:
    """Every option that a row names, other than the default, does something: else it trains the same model again."""
    idle, known = make_options(row["family"], row["options"]).without_effect(), defaults(row["family"])
    for key, value in row["options"].items():
        default = list(known[key]) if isinstance(known[key], tuple) else known[key]
        if key in idle and value != default:
            raise GanError(
                f"config: variants.{name}.options.{key} is {json.dumps(value)}, but {idle[key]}, so that it does "
                f"nothing; remove it or change that"
            )


def check_budget(name: str, row: dict[str, Any], training: dict[str, Any]) -> None:
    """Whether a row can be trained as ``training`` says."""
    family, known = row["family"], options_of(row["family"])
    if not known.TRAINED:
        for key in ("training", "init_from"):
            if row[key]:
                raise GanError(f"config: variants.{name}.{key} is set, but {family} is not trained; remove it")
        return
    options = defaults(family) | row["options"]
    given = training | row["training"]
    if given["precision"] not in known.PRECISIONS:
        raise GanError(
            f"config: training.precision is {given['precision']}, but the family {family} of variants.{name} computes "
            f"in {', '.join(known.PRECISIONS)}"
        )
    batch = given["batch"]
    group = options.get("mbstd_group")
    if group and batch % group:
        raise GanError(
            f"config: training.batch is {batch}, but variants.{name}.options.mbstd_group is {group}; "
            f"the batch must be a multiple of the group"
        )


def check_baselines(variants: dict[str, Any]) -> None:
    """Whether each baseline is another variant, and none leads back to itself."""
    for name, row in variants.items():
        baseline = row["baseline"]
        if baseline is not None and (baseline == name or baseline not in variants):
            known = ", ".join(other for other in variants if other != name) or "none, it is the only variant"
            raise GanError(
                f"config: variants.{name}.baseline is {baseline!r}; allowed: null or another variant ({known})"
            )
    for name in variants:
        check_chain(name, lambda row: row["baseline"], variants, "baseline", "a variant cannot modify itself")


def check_start(name: str, config: dict[str, Any]) -> None:
    """Check that the source of the variant ``name`` exists, is of its family, and does not start from itself."""
    row, where = config["variants"][name], f"variants.{name}.init_from"
    start = row["init_from"]
    if start is None:
        if frozen := row["options"].get("freeze_d"):
            raise GanError(
                f"config: variants.{name}.options.freeze_d is {frozen}, but {where} is null: layers that nothing has "
                f"trained would be frozen; name what it starts from, or set freeze_d to 0"
            )
        return
    given = {key for key, value in start.items() if value is not None}
    if given == {"path", "sha256"}:
        if Path(start["path"]).is_dir():
            raise GanError(f"config: {where}.path is {start['path']!r}, a folder; name the file weights.pt in it")
        return
    if given - {"seed"} != {"dataset", "variant"}:
        raise GanError(
            f"config: {where} names {', '.join(sorted(given)) or 'nothing'}; give dataset and variant (and seed) of a "
            f"cell, or path and sha256 of a file"
        )
    for kind in ("dataset", "variant"):
        if start[kind] not in config[f"{kind}s"]:
            raise GanError(f"config: {where}.{kind} is {start[kind]!r}; known: {', '.join(config[f'{kind}s'])}")
    family = config["variants"][start["variant"]]["family"]
    if family != row["family"]:
        raise GanError(
            f"config: {where}.variant is {start['variant']!r} of the family {family}, but {name} is of the family "
            f"{row['family']}; name a variant of that family"
        )
    check_chain(
        name,
        lambda row: (row["init_from"] or {}).get("variant"),
        config["variants"],
        "init_from",
        "a cell cannot start from itself",
    )


def check_source(name: str, variants: dict[str, Any]) -> None:
    """Whether the variant that ``name`` works on exists, and does not work on ``name``."""
    row, where = variants[name], f"variants.{name}.options"
    if (source := options_in(row).works_on()) is None:
        return
    if source not in variants:
        known = ", ".join(other for other in variants if other != name) or "none, it is the only variant"
        raise GanError(f"config: {where}.of is {source!r}; name the variant that it works on ({known})")
    check_chain(
        name,
        lambda row: options_in(row).works_on(),
        *(variants, "options.of", "a cell cannot be made of itself"),
    )


def check_alike(name: str, variants: dict[str, Any]) -> None:
    """Whether ``name`` is conditional as the variant that it works on, if it works on one."""
    own = options_in(variants[name])
    if (source := own.works_on()) is None:
        return
    conditions = [getattr(one, "conditional", False) for one in (own, options_in(variants[source]))]
    if conditions[0] != conditions[1]:
        ours, theirs = map(json.dumps, conditions)
        raise GanError(
            f"config: variants.{name}.options.conditional is {ours}, but that of {source}, which it works on, is "
            f"{theirs}; set both alike"
        )


def check_chain(
    name: str, follow: typing.Callable[[dict[str, Any]], str | None], variants: dict[str, Any], key: str, reason: str
) -> None:
    """A variant has one ``key`` for all of its cells: one that leads back to it would have no beginning."""
    chain = [name]
    while (following := follow(variants[chain[-1]])) in variants:
        chain.append(typing.cast(str, following))
        if chain[-1] in chain[:-1]:
            raise GanError(
                f"config: variants.{name}.{key} leads in a circle ({' <- '.join(chain)}), and {reason}; name a variant "
                f"without {key}, which may be a copy of this row"
            )


def _check_option(where: str, value: Any, kind: Any, limits: typing.Mapping[str, Any]) -> None:
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    fits = any(_is_a(value, one) for one in allowed)
    if not fits:
        names = " or ".join(map(_in_words, allowed))
        raise GanError(f"config: {where} is {value!r}; it must be of type {names}")
    if problem := unfit(value, limits):
        raise GanError(f"config: {where} is {value!r}; {problem}")


def _is_a(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        if not isinstance(value, list | tuple):
            return False
        if kinds[-1] is ...:
            kinds = kinds[:1] * len(value)
        return len(kinds) == len(value) and all(map(_is_a, value, kinds))
    return isinstance(value, kind)


def _in_words(kind: Any) -> str:
    """The type of an option as YAML has it."""
    if typing.get_origin(kind) is tuple:
        members = [_in_words(one) for one in typing.get_args(kind) if one is not ...]
        return f"list of {members[0]}" if ... in typing.get_args(kind) else f"[{', '.join(members)}]"
    return "null" if kind is type(None) else kind.__name__


def check_resolutions(options: dict[str, Any], size: tuple[int, ...]) -> None:
    """Whether the sizes at which modules are asked for exist in the pyramid of ``size``."""
    for kind in ("attention", "quantize"):
        if options.get(kind, "none") != "none":
            for resolution in options.get(f"{kind}_at", ()):
                Pyramid.of(size).level(resolution, f"{kind}_at")


def check_phases(variant: str, options: dict[str, Any], training: dict[str, Any]) -> None:
    """Whether each phase of the learning rate begins before the training ends."""
    late = [start for start, _ in options.get("lr_phases", ()) if start >= training["kimg"]]
    if late:
        raise GanError(
            f"config: variants.{variant}.options.lr_phases has a phase from {late[0]:g} kimg, but its training ends at "
            f"{training['kimg']:g}; let it begin earlier or train longer"
        )
