"""Complete and check a config from its file: the schema, and the rules between its parts.

Each error is one line with the key, its value, and the allowed values. The workflow's driver imports this
module: no numpy, no torch.
"""

import dataclasses
import functools
import json
import types
import typing
from pathlib import Path
from typing import Any

from gan.cells import JOINT, SPLITS, WHOLE
from gan.errors import GanError
from gan.families.options import unfit
from gan.families.registry import defaults, families, make_options, options_of
from gan.labels import label_of
from gan.plain import plain
from gan.pyramid import Pyramid
from gan.runtime import uneven
from gan.scoring.extractors import registry

KINDS = {  # the types of JSON in words
    "object": "a block of keys and values",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


_NAMES = (
    "take small letters, digits and _ for it, at most 64 characters, and no name that results/ uses for something else"
)


def complete(config: dict[str, Any], schema: str | Path) -> dict[str, Any]:
    """``config`` with all defaults. `GanError` if it breaks the schema or a rule between its parts."""
    definition = read_schema(str(schema))
    config = _with_defaults(plain(config), definition, definition)
    _validate(config, definition)
    for name, row in config["variants"].items():
        _validate(row["training"], definition["properties"]["training"], f"variants.{name}.training")
    for name, row in config["datasets"].items():
        row["reference"] = row["reference"] or row["contrasts"][0]
        _check_dataset(name, row)
    for name, row in config["variants"].items():
        _check_variant(name, row)
    _check_baselines(config["variants"])
    for name in config["variants"]:
        _check_start(name, config)
    for kind in ("datasets", "variants"):
        for name in config["study"][kind]:
            if name not in config[kind]:
                raise GanError(f"config: study.{kind} names {name!r}; known: {', '.join(config[kind])}")
    for name in _in_use(config):
        _check_budget(name, config["variants"][name], config["training"])
        _check_effect(name, config["variants"][name])
    _check_metrics(config["metrics"])
    _check_nodes(config["resources"]["train"])
    return config


def check_pair(config: dict[str, Any], dataset: str, variant: str) -> None:
    """`GanError` if ``variant`` cannot be trained on ``dataset``; config: of `complete`."""
    row, chosen = config["datasets"][dataset], config["variants"][variant]
    options, known = defaults(chosen["family"]) | chosen["options"], options_of(chosen["family"])
    if (known.TASK == "translate") != bool(row["translate"]):
        does, wants = (
            ("translates images", "has no translate: name its source and target contrasts")
            if known.TASK == "translate"
            else ("generates images", "has translate, so that its variants have to translate: choose another family")
        )
        raise GanError(
            f"config: variants.{variant} {does} (family {chosen['family']}), but datasets.{dataset} {wants}, or leave "
            f"the pair out of the study"
        )
    if options.get("conditional") and row["labels"] is None:
        raise GanError(
            f"config: variants.{variant}.options.conditional is true, but datasets.{dataset}.labels is null; "
            f"name its labels or leave the pair out of the study"
        )
    if row["missing"] == "leave" and options_of(chosen["family"]).TASK != "translate":
        raise GanError(
            f"config: datasets.{dataset}.missing is leave, but variants.{variant} makes all contrasts of an image and "
            f"would learn the zeros of those that are missing; set it to refuse or leave the pair out of the study"
        )
    if row["labels"] == "contrast" and not options.get("conditional"):
        raise GanError(
            f"config: datasets.{dataset}.labels is contrast, but variants.{variant} is not conditional; "
            f"set its options.conditional to true or leave the pair out of the study"
        )
    if options.get("drop_inputs") and len(row["translate"]["source"]) == 1:
        raise GanError(
            f"config: variants.{variant}.options.drop_inputs is {options['drop_inputs']:g}, but "
            f"datasets.{dataset}.translate has one source, which has to stay; name several or leave the pair out of "
            f"the study"
        )
    training, size = config["training"] | chosen["training"], row["slices"]["size"]
    try:
        pyramid = Pyramid.of(tuple(size) if isinstance(size, list) else (size, size))
        _check_resolutions(options, pyramid)
        make_options(chosen["family"], options).check_fit(pyramid.doublings, training["kimg"], training["batch"])
    except GanError as error:
        raise GanError(f"config: variants.{variant} on datasets.{dataset}: {error}") from error
    _check_phases(variant, options, training)


def check_place(config: dict[str, Any], variant: str, seed: int) -> None:
    """`GanError` if what the cell of ``seed`` is made of is not there; config: of `complete`."""
    row = config["variants"][variant]
    try:
        make_options(row["family"], row["options"]).place(seed)
    except GanError as error:
        raise GanError(f"config: variants.{variant}.options: {error}") from error


@functools.cache
def read_schema(path: str) -> dict[str, Any]:
    """The schema of a config, with the extractors that there are."""
    import yaml

    schema = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    metrics = schema["properties"]["metrics"]
    extractors = metrics["properties"].pop("extractors") | {"items": {"enum": list(registry.names())}}
    sections = {name: registry.schema(name) for name in registry.names()}
    metrics["properties"] = {"extractors": extractors, **sections, **metrics["properties"]}
    return schema


def _with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Fill in the ``default`` of every absent property, all the way down."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]] | {k: v for k, v in schema.items() if k != "$ref"}
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for key, part in properties.items():
        if key not in value and "default" in part:
            value[key] = json.loads(json.dumps(part["default"]))
    rest = schema.get("additionalProperties")
    for key in value:
        part = properties.get(key, rest if isinstance(rest, dict) else {})
        value[key] = _with_defaults(value[key], part, root)
    return value


def _validate(config: dict[str, Any], schema: dict[str, Any], below: str = "") -> None:
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


def _check_dataset(name: str, row: dict[str, Any]) -> None:
    kinds = [key for key in ("path", "url", "phantom") if key in row["source"]]
    if len(kinds) != 1:
        raise GanError(
            f"config: datasets.{name}.source names {kinds or 'nothing'}; give exactly one of path, url, phantom"
        )
    if row["reference"] not in row["contrasts"]:
        allowed = ", ".join(row["contrasts"])
        raise GanError(f"config: datasets.{name}.reference is {row['reference']!r}; allowed: {allowed}")
    if row["mask"] in row["contrasts"]:
        raise GanError(
            f"config: datasets.{name}.mask is {row['mask']!r}, which is among its contrasts; name a label volume"
        )
    if taken := {WHOLE, JOINT} & {*row["contrasts"], row["mask"]}:
        raise GanError(f"config: datasets.{name} has a contrast called {min(taken)!r}, as some scores are; rename it")
    if label_of(row["labels"]) in ("slice", "contrast"):
        _check_slice_labels(name, row)
    if row["translate"]:
        _check_translate(name, row)
    if row["missing"] == "leave":
        _check_missing(name, row)
    parts = sum(row["split"][part] for part in SPLITS)
    if abs(parts - 1) > 1e-6:
        raise GanError(f"config: datasets.{name}.split adds up to {parts:g}; train + val + test must be 1")
    one_series = row["layout"] == "dicom" and len(row["contrasts"]) == 1 and not row["mask"]
    if row["layout"] in ("nifti", "dicom") and row["pattern"] is None and not one_series:
        raise GanError(f"config: datasets.{name}.pattern is null; layout {row['layout']} needs one with {{subject}}")
    window = row["intensity"]
    if window["map"] == "window" and (window["low"] is None or window["high"] is None):
        raise GanError(f"config: datasets.{name}.intensity: map window needs the values low and high")
    low, high = window["low"], window["high"]
    if window["map"] == "percentile":
        low, high = 0.5 if low is None else low, 99.5 if high is None else high
        for key, value in (("low", low), ("high", high)):
            if not 0 <= value <= 100:
                raise GanError(
                    f"config: datasets.{name}.intensity.{key} is {value:g}; a percentile is between 0 and 100 (for "
                    f"intensities themselves set map to window)"
                )
    if low is not None and high is not None and low >= high:
        raise GanError(f"config: datasets.{name}.intensity.low is {low:g}; it must be below high, {high:g}")


def _check_slice_labels(name: str, row: dict[str, Any]) -> None:
    """Labels of slices or contrasts, of a data set that has such."""
    where = f"config: datasets.{name}.labels is {json.dumps(row['labels'])}"
    if row["layout"] == "images":
        raise GanError(f"{where}, but pictures are no slices of a volume; give folder or a table")
    if row["labels"] == "contrast" and len(row["contrasts"]) == 1:
        raise GanError(f"{where}, but there is one contrast; name more contrasts, or other labels")
    if row["labels"] == "contrast" and row["mask"]:
        raise GanError(f"{where}, so that each image is of one contrast, without the mask; set mask to null")


def _check_translate(name: str, row: dict[str, Any]) -> None:
    """Sources and targets that the store has, none of them both."""
    where, task = f"config: datasets.{name}.translate", row["translate"]
    allowed = {"source": [*row["contrasts"], *filter(None, [row["mask"]])], "target": row["contrasts"]}
    for side, names in allowed.items():
        if unknown := [one for one in task[side] if one not in names]:
            raise GanError(f"{where}.{side} names {unknown[0]!r}; allowed: {', '.join(names)}")
    if both := [one for one in task["target"] if one in task["source"]]:
        raise GanError(f"{where}: {both[0]!r} is source and target; a contrast is translated into another one")
    if row["labels"] == "contrast":
        raise GanError(f"{where}: with labels contrast each image is of one contrast; set labels to null")
    if row["layout"] == "images":
        raise GanError(f"{where}: layout images has one contrast; give volumes of both contrasts")


def _check_missing(name: str, row: dict[str, Any]) -> None:
    """Subjects may lack a contrast where there are several, as channels of an image."""
    where = f"config: datasets.{name}.missing is leave"
    if len(row["contrasts"]) == 1 and not row["mask"]:
        raise GanError(f"{where}, but there is one contrast, which every subject needs; set it to refuse")
    if row["labels"] == "contrast":
        raise GanError(f"{where}, but labels is contrast, so that each image is of one; set one of them to its default")


def _in_use(config: dict[str, Any]) -> dict[str, None]:
    """The variants of the study, and those that one of them starts from: others need not suit ``training``."""
    names = dict.fromkeys(config["study"]["variants"])
    waiting = list(names)
    while waiting:
        start = config["variants"][waiting.pop()]["init_from"] or {}
        if (source := start.get("variant")) and source not in names:
            names[source] = None
            waiting.append(source)
    return names


def _check_variant(name: str, row: dict[str, Any]) -> None:
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
    try:
        known(**row["options"])
    except GanError as error:
        raise GanError(f"config: variants.{name}.options: {error}") from error


def _check_effect(name: str, row: dict[str, Any]) -> None:
    """Every option that a row names, other than the default, does something: else it trains the same model again."""
    idle, known = make_options(row["family"], row["options"]).without_effect(), defaults(row["family"])
    for key, value in row["options"].items():
        default = list(known[key]) if isinstance(known[key], tuple) else known[key]
        if key in idle and value != default:
            raise GanError(
                f"config: variants.{name}.options.{key} is {json.dumps(value)}, but {idle[key]}, so that it does "
                f"nothing; remove it or change that"
            )


def _check_budget(name: str, row: dict[str, Any], training: dict[str, Any]) -> None:
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


def _check_baselines(variants: dict[str, Any]) -> None:
    for name, row in variants.items():
        baseline = row["baseline"]
        if baseline is not None and (baseline == name or baseline not in variants):
            known = ", ".join(other for other in variants if other != name) or "none, it is the only variant"
            raise GanError(
                f"config: variants.{name}.baseline is {baseline!r}; allowed: null or another variant ({known})"
            )
    for name in variants:
        _check_chain(name, lambda row: row["baseline"], variants, "baseline", "a variant cannot modify itself")


def _check_start(name: str, config: dict[str, Any]) -> None:
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
    _check_chain(
        name,
        lambda row: (row["init_from"] or {}).get("variant"),
        config["variants"],
        "init_from",
        "a cell cannot start from itself",
    )


def _check_chain(
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


def _check_resolutions(options: dict[str, Any], pyramid: Pyramid) -> None:
    for kind in ("attention", "quantize"):
        if options.get(kind, "none") != "none":
            for resolution in options.get(f"{kind}_at", ()):
                pyramid.level(resolution, f"{kind}_at")


def _check_phases(variant: str, options: dict[str, Any], training: dict[str, Any]) -> None:
    late = [start for start, _ in options.get("lr_phases", ()) if start >= training["kimg"]]
    if late:
        raise GanError(
            f"config: variants.{variant}.options.lr_phases has a phase from {late[0]:g} kimg, but its training ends at "
            f"{training['kimg']:g}; let it begin earlier or train longer"
        )


def _check_metrics(metrics: dict[str, Any]) -> None:
    for name in registry.names():
        if fault := registry.options(name, metrics[name]).fault(name in metrics["extractors"]):
            raise GanError(f"config: {fault}")


def _check_nodes(train: dict[str, Any]) -> None:
    gpus, nodes = train["gpu"], train["nodes"]
    if uneven(gpus, nodes):
        raise GanError(f"config: resources.train.gpu is {gpus}; give a multiple of resources.train.nodes, {nodes}")
