"""The building blocks of a family's ``options.py``: one frozen dataclass, defaults as published.

Here and there the standard library is enough: the workflow validates a config and fills in recipes without torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.errors import GanError
from gan.pyramid import Pyramid

TASKS = ("generate", "translate", "either")
AUGMENT_REAL = ("none", "affine", "affine_elastic", "all")  # of `gan.train.reals`


def option(
    default: Any,
    doc: str,
    *,
    choices: tuple = (),
    low: float | None = None,
    high: float | None = None,
    added: bool = False,
) -> Any:
    """A dataclass field with a one-line description and the allowed values (``choices``, or ``low <= x <= high``).

    added: after cells had been trained: recipes do not state its default, so that their run keys stay.
    """
    metadata = {"doc": doc, "choices": choices, "low": low, "high": high, "added": added}
    return field(default=default, metadata=metadata)


def augment_real() -> Any:
    """The option of that name, for families that generate."""
    doc = "change real volumes at random before training on them, and only them: the generator learns the changes too"
    return option("none", doc, choices=AUGMENT_REAL, added=True)


def unfit(value: Any, limits: Mapping[str, Any]) -> str | None:
    """The allowed values, in words, if ``value`` breaks the metadata of its `option`; else None.

    The limits of a list are those of its members.
    """
    if isinstance(value, list | tuple):
        return next((problem for one in value if (problem := unfit(one, limits))), None)
    choices, low, high = limits["choices"], limits["low"], limits["high"]
    if choices and value not in choices:
        return f"allowed: {', '.join(map(str, choices))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if low is not None and not value >= low:
        return f"it must be at least {low:g}"
    if high is not None and not value <= high:
        return f"it must be at most {high:g}"
    return None


@dataclass(frozen=True)
class Options:
    """Base of the dataclasses: a value out of bounds raises `GanError` with the option and what is allowed.

    TASK: of `TASKS`; either: that of the variant that it works on. TRAINED: false for a model that is made
    (`gan.families.contract.Made`). FROM_ELSEWHERE: its images come from outside of the study. REVISION: part of every
    recipe; raise it when a change makes the family's results differ. PRECISIONS: what ``training.precision`` may be; a
    family adds those that its networks support (`gan.ops.precision`).
    TRANSFER: the defaults that differ for a training that starts from the networks of another one (``init_from``).
    A family that is trained has the option ``conditional`` (on labels) and, unless it translates, ``z_dim`` (width of
    the latents).
    """

    TASK: ClassVar[str]
    TRAINED: ClassVar[bool] = True
    FROM_ELSEWHERE: ClassVar[bool] = False
    REVISION: ClassVar[int]
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32")
    TRANSFER: ClassVar[dict[str, Any]] = {}

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if problem := unfit(value, item.metadata):
                raise GanError(f"option {item.name} is {value!r}; {problem}")

    def varies(self) -> bool:
        """Whether another seed gives another result: else there is one cell, of the first seed."""
        return True

    def place(self, seed: int) -> str | None:
        """A folder on this machine that the cell of ``seed`` is made of; None without."""
        return None

    def works_on(self) -> str | None:
        """The variant whose images it is made of, of the same data set and seed; None without."""
        return None

    def encoder(self) -> str | None:
        """The extractor whose feature maps it is made with; None without."""
        return None

    def feature_maps(self) -> tuple[str, ...]:
        """The feature maps of the `encoder` that it names."""
        return ()

    def shows_patients(self, translates: bool) -> bool:
        """Whether its images have the anatomy of training patients by construction; translates: the data set's task."""
        return False

    def no_contest(self, translates: bool) -> str:
        """Why it takes no part in which variant is better, in a few words; empty if it does."""
        return ""

    def about(self, translates: bool) -> dict[str, Any]:
        """What a folder of its images says of them, next to what made them."""
        return {}

    def stated(self, seed: int) -> dict[str, Any]:
        """The options as the recipe of the cell of ``seed`` states them: a place by its content, and an option that was
        added later only if it is not at its default."""
        values = {item.name: (getattr(self, item.name), item) for item in dataclasses.fields(self)}
        return {
            name: value
            for name, (value, item) in values.items()
            if not item.metadata.get("added") or value != item.default
        }

    def without_effect(self) -> dict[str, str]:
        """Options without effect given the others: for each, the one that causes it, and its value."""
        return {}

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        """Raise `GanError` if these options do not fit images of ``size``, or a training on ``kimg``.

        Families that generate images double a small grid (`gan.pyramid`); those that translate may take any size.
        """
        if self.TASK == "generate":
            Pyramid.of(size)
