"""The tasks, the arms and the settings of a study of utility. The workflow's driver imports it: no torch, no numpy."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from gan.labels import label_of

SEGMENT, CLASSIFY, DETECT = "segment", "classify", "detect"
TASKS = (SEGMENT, CLASSIFY, DETECT)
ORDER, TWO_SAMPLE = "order", "two_sample"
FURTHER = (ORDER, TWO_SAMPLE)  # questions without arms: slice order, and whether generated images can be told from real
REAL = "real"  # the arm that all others are compared with
REVISION = 1  # raise when the same images give other networks or scores


@dataclass(frozen=True)
class Arm:
    """What a network is trained on.

    share: of each batch that is not from real training patients; generated: whether it is generated images, so that
    every cell has its own; control: whether it tests the method and no images; sentence: what it is.
    """

    share: float
    sentence: str
    generated: bool = False
    control: bool = False


ARMS = {
    "synthetic": Arm(1, "generated images alone, as many as there are real ones", generated=True),
    "mixed_25": Arm(0.25, "a quarter of each batch generated, the rest real", generated=True),
    "mixed_50": Arm(0.5, "half of each batch generated, half real", generated=True),
    "mixed_75": Arm(0.75, "three quarters of each batch generated, the rest real", generated=True),
    "held": Arm(0.5, "half of each batch from validation patients: what as many new patients would bring"),
    "oracle": Arm(1, "real images in the place of generated ones: has to equal real", control=True),
    "scrambled": Arm(1, "real images with the masks or classes of others: has to fall to chance", control=True),
}


@dataclass(frozen=True)
class Settings:
    """steps: of training, the same for every arm; batch: images a step; width: feature maps of the first layer."""

    steps: int = 400
    batch: int = 16
    width: int = 8

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in fields(cls)]

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "Settings":
        """Those of the section ``utility`` of a config."""
        return cls(**{name: section[name] for name in cls.names()})


def arms_of(names: list[str], *, generated: bool) -> list[str]:
    """The arms among ``names`` that are of generated images, or of real ones."""
    return [name for name in names if ARMS[name].generated == generated]


def with_reference(tasks: list[str]) -> list[str]:
    """The ``tasks`` for which a network of real images is trained first."""
    return [name for name in tasks if name != TWO_SAMPLE]


def tasks_of(data: Mapping[str, Any], options: Mapping[str, Any], also: Collection[str] = ()) -> list[str]:
    """The tasks that images of a variant can train a network for; empty where `no_task` says why.

    data: the row of the data set, or ``data`` of a recipe; options: of the variant, complete; also: of `FURTHER`, which
    come last.
    """
    if data.get("translate") or data.get("volumes"):
        return []
    found = [SEGMENT] if data.get("mask") else []
    found += [CLASSIFY] if options.get("conditional") and label_of(data.get("labels")) == "subject" else []
    found += [DETECT] if data.get("mask") and data.get("detect") is not None else []
    asked = [name for name in FURTHER if name in also]
    return found + [name for name in asked if name != ORDER or data.get("layout") != "images"]  # pictures have no order


def no_task(data: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """Why `tasks_of` is empty, in a few words; None if it is not."""
    if tasks_of(data, options):
        return None
    if data.get("translate"):
        return "it translates images of patients and makes no new ones"
    if data.get("volumes"):
        return "whole volumes have none here"
    of = label_of(data.get("labels"))
    if options.get("conditional") and of != "subject":
        return f"its classes are {of}s, no diagnosis, and it makes no mask"
    return "it makes no mask, and no images of a class that is asked for"
