"""Complete and check a config from its file: the schema, and the rules between its parts.

Each error is one line with the key, its value, and the allowed values. The workflow's driver imports this
module: no numpy, no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan.config import variants
from gan.config.datasets import check_dataset, sides
from gan.config.schema import read_schema, validate, with_defaults, with_networks
from gan.errors import GanError
from gan.families.options import Options
from gan.families.registry import defaults, make_options, options_of
from gan.plain import plain
from gan.runtime import uneven
from gan.scoring.extractors import registry
from gan.terms import as_words


def complete(config: dict[str, Any], schema: str | Path) -> dict[str, Any]:
    """``config`` with all defaults. `GanError` if it breaks the schema or a rule between its parts."""
    config = plain(config)
    as_words(config)
    definition = with_networks(read_schema(str(schema)), config)
    config = with_defaults(config, definition, definition)
    validate(config, definition)
    for name, row in config["variants"].items():
        validate(row["training"], definition["properties"]["training"], f"variants.{name}.training")
    for name, row in config["datasets"].items():
        row["reference"] = row["reference"] or row["contrasts"][0]
        check_dataset(name, row)
    for name, row in config["variants"].items():
        variants.check_variant(name, row)
    variants.check_baselines(config["variants"])
    for name in config["variants"]:
        variants.check_start(name, config)
        variants.check_source(name, config["variants"])
    for kind in ("datasets", "variants"):
        for name in config["study"][kind]:
            if name not in config[kind]:
                raise GanError(f"config: study.{kind} names {name!r}; known: {', '.join(config[kind])}")
    used = variants.in_use(config)
    for name in used:
        variants.check_budget(name, config["variants"][name], config["training"])
        variants.check_effect(name, config["variants"][name])
        variants.check_alike(name, config["variants"])
        check_encoder(name, config["variants"][name])
    check_metrics(config["metrics"], [encoder for name in used if (encoder := encoder_of(config, name))])
    check_as_published(config)
    check_nodes(config["resources"]["train"])
    check_utility(config)
    return config


def check_pair(config: dict[str, Any], dataset: str, variant: str) -> None:
    """`GanError` if ``variant`` cannot be trained on ``dataset``; config: of `complete`."""
    row, chosen = config["datasets"][dataset], config["variants"][variant]
    options, task = defaults(chosen["family"]) | chosen["options"], task_of(config, variant)
    if (task == "translate") != bool(row["translate"]):
        does, wants = (
            ("translates images", "has no translate: name its source and target contrasts")
            if task == "translate"
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
    if row["missing"] == "leave" and task != "translate":
        raise GanError(
            f"config: datasets.{dataset}.missing is leave, but variants.{variant} makes all contrasts of an image and "
            f"would learn the zeros of those that are missing; set it to refuse or leave the pair out of the study"
        )
    if options.get("augment_real", "none") != "none" and not row.get("volumes"):
        raise GanError(
            f"config: variants.{variant}.options.augment_real is {options['augment_real']}, which changes volumes, but "
            f"datasets.{dataset} has slices; set it to none or leave the pair out of the study"
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
    training = config["training"] | chosen["training"]
    try:
        size, made = sides(row), make_options(chosen["family"], options)
        made.check_fit(size, training["kimg"], training["batch"])
        variants.check_resolutions(options, size)
        check_maps(made, size)
    except GanError as error:
        raise GanError(f"config: variants.{variant} on datasets.{dataset}: {error}") from error
    variants.check_phases(variant, options, training)


def check_place(config: dict[str, Any], variant: str, seed: int) -> None:
    """`GanError` if what the cell of ``seed`` is made of is not there; config: of `complete`."""
    row = config["variants"][variant]
    try:
        make_options(row["family"], row["options"]).place(seed)
    except GanError as error:
        raise GanError(f"config: variants.{variant}.options: {error}") from error


def task_of(config: dict[str, Any], variant: str) -> str:
    """What ``variant`` does, or that which it works on: ``generate`` or ``translate``; config: of `complete`."""
    row = config["variants"][variant]
    source = variants.options_in(row).works_on()
    return options_of(row["family"]).TASK if source is None else task_of(config, source)


def encoder_of(config: dict[str, Any], variant: str) -> str | None:
    """The extractor whose feature maps ``variant`` is made with; None without. config: of `complete`."""
    return variants.options_in(config["variants"][variant]).encoder()


def check_encoder(name: str, row: dict[str, Any]) -> None:
    """Whether the extractor that a row is made with has feature maps."""
    known = [one for one in registry.names() if registry.options_class(one).maps((256, 256))]
    if (encoder := variants.options_in(row).encoder()) and encoder not in known:
        raise GanError(f"config: variants.{name}.options.features is {encoder!r}; allowed: {', '.join(known)}")


def check_maps(options: Options, size: tuple[int, ...]) -> None:
    """`GanError` if ``options`` name a feature map that their encoder does not have for images of ``size``."""
    if encoder := options.encoder():
        if len(size) == 3:
            raise GanError(
                f"volumes have no feature maps, {encoder} sees slices alone; leave the pair out of the study"
            )
        known = registry.options_class(encoder).maps((size[-2], size[-1]))
        if unknown := [name for name in options.feature_maps() if name not in known]:
            raise GanError(f"options name the map {unknown[0]!r}; {encoder} has {', '.join(known)} at this size")


def check_metrics(metrics: dict[str, Any], encoders: Sequence[str]) -> None:
    """`GanError` if an extractor lacks what it needs; metrics: that section; encoders: what variants are made with."""
    for name in registry.choices(metrics):
        used = name in metrics["extractors"] or name in encoders
        if fault := registry.options(registry.kind(name), registry.section(metrics, name)).fault(used):
            raise GanError(f"config: {fault}")
    if all(registry.axes(name) == 3 for name in metrics["extractors"]):
        raise GanError(
            f"config: metrics.extractors is {', '.join(metrics['extractors'])}, which sees whole volumes alone and is "
            f"left out where they are few; add one of slices, such as indomain"
        )


def check_as_published(config: dict[str, Any]) -> None:
    """`GanError` if scores as published are wanted of translations or of volumes alone, which have none; config: of
    `complete`."""
    datasets = config["study"]["datasets"]
    if not config["metrics"]["as_published"]:
        return
    rows = [config["datasets"][name] for name in datasets]
    if all(row["volumes"] for row in rows):
        raise GanError(
            f"config: metrics.as_published is set, but {', '.join(datasets)} has whole volumes, and no publication "
            f"scores slices on three planes; set it to null"
        )
    if all(row["translate"] or row["volumes"] for row in rows):
        raise GanError(
            f"config: metrics.as_published is set, but {', '.join(datasets)} is translated, and a translation is "
            f"compared with its own target; set it to null"
        )


def check_utility(config: dict[str, Any]) -> None:
    """`GanError` if the arm that leads is not among those that are trained; config: of `complete`."""
    section = config["utility"]
    if section and section["primary"] not in section["arms"]:
        raise GanError(
            f"config: utility.primary is {section['primary']!r}, which is not among utility.arms; allowed: "
            f"{', '.join(section['arms'])}"
        )


def check_nodes(train: dict[str, Any]) -> None:
    """`GanError` if the GPUs cannot be spread evenly over the nodes; train: of ``resources``."""
    gpus, nodes = train["gpu"], train["nodes"]
    if uneven(gpus, nodes):
        raise GanError(f"config: resources.train.gpu is {gpus}; give a multiple of resources.train.nodes, {nodes}")
