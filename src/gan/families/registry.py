"""The available families: a folder here, or a package that the entry-point group ``gan.families`` names.

Each has ``options.py`` (one dataclass of `gan.families.options.Options`), ``model.py`` (one
`gan.families.contract.Model`) and, if it is trained, ``golden.json`` (recorded losses, for tests). Options alone are
imported before a model is asked for: no torch.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gan.errors import GanError
from gan.families.options import TASKS, Options

if TYPE_CHECKING:
    from gan.families.contract import ImageShape, Model, Variant

GROUP = "gan.families"


class Family(NamedTuple):
    """package: holds ``options``, ``model`` and ``golden.json``; options: the dataclass."""

    package: str
    options: type[Options]

    @property
    def model(self) -> type["Model"]:
        """The model, imported on demand."""
        from gan.families.contract import Model

        return _only(f"{self.package}.model", Model)

    @property
    def golden(self) -> Path:
        """The file of recorded losses."""
        return Path(importlib.import_module(self.package).__path__[0]) / "golden.json"


@functools.cache
def families() -> dict[str, Family]:
    """All families by name, in its order. `GanError` if a name is taken twice, or an installed family is broken."""
    places = {
        path.parent.name: f"{__package__}.{path.parent.name}" for path in Path(__file__).parent.glob("*/options.py")
    }
    for entry in importlib.metadata.entry_points(group=GROUP):
        if places.setdefault(entry.name, entry.value) != entry.value:
            raise GanError(
                f"family {entry.name} of {entry.value}: {places[entry.name]} has that name; rename one in the "
                f"entry points {GROUP} of its package, or uninstall it"
            )
    return {name: _family(name, package) for name, package in sorted(places.items())}


def trained() -> dict[str, Family]:
    """The families that are trained, by name; the others are made (`gan.families.contract.Made`)."""
    return {name: family for name, family in families().items() if family.options.TRAINED}


def options_of(family: str) -> type[Options]:
    """The options of ``family``; `GanError` if there is no such family."""
    if family not in families():
        raise GanError(f"unknown family {family!r}; known: {', '.join(families())}")
    return families()[family].options


def defaults(family: str, *, transfer: bool = False) -> dict[str, Any]:
    """Every option of ``family`` with its default, in order of declaration; transfer: as `Options.TRANSFER` has it."""
    options = options_of(family)
    found = {item.name: item.default for item in dataclasses.fields(options)}
    return found | options.TRANSFER if transfer else found


def added(family: str) -> dict[str, Any]:
    """The defaults of the options that recipes do not state (`gan.families.options.option`); none of a family that is
    not known here."""
    known = dataclasses.fields(families()[family].options) if family in families() else ()
    return {item.name: item.default for item in known if item.metadata.get("added")}


def make_options(family: str, given: dict[str, Any]) -> Options:
    """The options of ``family``, by default or as given; `GanError` if there is no such family, option or value."""
    known = defaults(family)
    if unknown := sorted(given.keys() - known.keys()):
        raise GanError(f"family {family} has no option {unknown[0]!r}; it has: {', '.join(known)}")
    return options_of(family)(**given)


def build(family: str, options: dict[str, Any], shape: "ImageShape", batch: int) -> "Variant":
    """The variant that a recipe describes. `GanError` as `make_options`, and if the images do not fit."""
    made = make_options(family, options)
    return typing.cast("type[Variant]", families()[family].model)(made, shape, batch)


def _family(name: str, package: str) -> Family:
    try:
        options = _only(f"{package}.options", Options)
    except (ImportError, AttributeError, TypeError) as error:
        raise GanError(f"family {name} of {package}: {error}; correct it or uninstall its package") from error
    if "__dataclass_fields__" not in vars(options) or getattr(options, "TASK", None) not in TASKS:
        raise GanError(f"family {name} of {package}: its options have to be a dataclass with TASK {' or '.join(TASKS)}")
    return Family(package, options)


def _only(module: str, base: type) -> Any:
    """The one class that ``module`` derives from ``base``."""
    members = vars(importlib.import_module(module)).values()
    found = [one for one in members if isinstance(one, type) and issubclass(one, base) and one.__module__ == module]
    if len(found) != 1:
        raise GanError(f"{module} has {len(found)} classes of the kind {base.__name__}; a family has one")
    return found[0]
