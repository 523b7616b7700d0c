"""From a config to a grid of cells, and from a cell to its recipe and run key.

The workflow's driver imports this module, so it stays light: no numpy, no torch. Whatever decides a result is in the
recipe; whatever does not (GPUs, memory, time) is kept out of it. A recipe is shown in reports and to tracking servers,
so it names no place: a source is known by its checksum, or without one by a hash of its path or address.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan.cells import flatten, no_scores
from gan.config import check_pair, check_place, complete
from gan.config.variants import brings
from gan.errors import GanError
from gan.families.options import Options
from gan.families.registry import added, defaults, make_options, options_of
from gan.labels import label_of
from gan.scoring.extractors import registry
from gan.terms import PHANTOM, Origin, Terms, united
from gan.utility.options import tasks_of

DATA_REVISION = 1  # raise when the store made from the same volumes changes
TRAIN_REVISION = 1  # raise when the loop gives other results for the same variant
REALS_REVISION = 2  # raise when the option augment_real changes volumes in another way
MASKS_REVISION = 1  # raise when networks see or draw the labels of a mask in another way
UNTRAINED = {"kimg": 0, "batch": 1, "snapshot_kimg": 1, "precision": "fp32"}  # the training of what is made
METRICS_REVISION = 3  # raise when the same images get other features or scores


@dataclass(frozen=True, order=True)
class Cell:
    """One training run of the grid."""

    dataset: str
    variant: str
    seed: int

    @property
    def folder(self) -> str:
        """Path below the study's folder."""
        return f"{self.dataset}/{self.variant}/seed{self.seed}"


class Study:
    """A validated config with all defaults filled in."""

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.name: str = config["study"]["name"]
        self.datasets: list[str] = config["study"]["datasets"]
        self.variants: list[str] = config["study"]["variants"]
        self.seeds: list[int] = config["study"]["seeds"]
        self.metrics: dict[str, Any] = config["metrics"]
        self.utility: dict[str, Any] | None = config["utility"]

    def cells(self) -> list[Cell]:
        """The grid, datasets first; a variant that no seed changes has the first seed alone."""
        cells = [Cell(*key) for key in itertools.product(self.datasets, self.variants, self.seeds)]
        return [cell for cell in cells if cell.seed == self.seeds[0] or self.options(cell.variant).varies()]

    def targets(self, taken: Iterable[str] = ()) -> dict[str, list[Cell]]:
        """What is asked for by each name of a data set or variant of the study: its cells.

        `GanError` if a name is in ``taken``, the names of rules, or is that of a data set and of a variant.
        """
        taken = set(taken)
        for kind, names in (("datasets", self.datasets), ("variants", self.variants)):
            if used := sorted(taken.intersection(names)):
                raise GanError(
                    f"config: study.{kind} names {used[0]!r}, as a rule of the workflow is called; what `snakemake "
                    f"{used[0]}` runs would be unclear, rename the row"
                )
        if both := sorted({*self.datasets} & {*self.variants}):
            raise GanError(
                f"config: {both[0]!r} is a data set and a variant of the study; what `snakemake {both[0]}` runs would "
                f"be unclear, rename one of them"
            )
        by_name: dict[str, list[Cell]] = {name: [] for name in (*self.datasets, *self.variants)}
        for cell in self.cells():
            by_name[cell.dataset].append(cell)
            by_name[cell.variant].append(cell)
        return by_name

    def dataset(self, name: str) -> dict[str, Any]:
        """The row of a data set, with defaults."""
        return self.config["datasets"][name]

    def scored(self, dataset: str) -> bool:
        """Whether cells of ``dataset`` are scored; splits without validation or test subjects are trained on alone."""
        return no_scores(self.dataset(dataset)) is None

    def tasks(self, cell: Cell) -> list[str]:
        """The tasks that networks are trained for on images of ``cell``; none without ``utility``."""
        if self.utility is None or not self.scored(cell.dataset):
            return []
        return tasks_of(self.dataset(cell.dataset), asdict(self.options(cell.variant)), self.utility["also"])

    def volumes_spec(self, name: str) -> dict[str, Any]:
        """The part of a data set's row that decides its volumes."""
        row = self.dataset(name)
        keys = ("layout", "pattern", "contrasts", "reference", "align", "mask")
        labels = row["labels"] if label_of(row["labels"]) == "subject" else None
        decides = {key: row[key] for key in keys} | {"labels": labels}
        if row["missing"] != "refuse":  # else as before there was the key: no run key changes
            decides["missing"] = row["missing"]
        return {"source": identity(row["source"]), **decides, "revision": DATA_REVISION}

    def options(self, variant: str) -> Options:
        """The options of ``variant``, complete."""
        row = self.config["variants"][variant]
        return make_options(row["family"], defaults(row["family"], transfer=bool(row["init_from"])) | row["options"])

    def trained(self, variant: str) -> bool:
        """Whether ``variant`` is trained; other ones are made."""
        return options_of(self.config["variants"][variant]["family"]).TRAINED

    def place(self, cell: Cell) -> str | None:
        """The folder that ``cell`` is made of, if any."""
        return self.options(cell.variant).place(cell.seed)

    def store_spec(self, name: str) -> dict[str, Any]:
        """The part of a data set's row that decides its store."""
        row = self.dataset(name)
        kind = "volumes" if row["volumes"] else "slices"
        return self.volumes_spec(name) | {key: row[key] for key in ("labels", kind, "intensity", "split")}

    def source(self, cell: Cell) -> Cell | None:
        """The cell whose networks ``cell`` starts from; None if they are new, or from a file."""
        start = self.config["variants"][cell.variant]["init_from"]
        if start is None or start["path"]:
            return None
        return Cell(start["dataset"], start["variant"], cell.seed if start["seed"] is None else start["seed"])

    def works_on(self, cell: Cell) -> Cell | None:
        """The cell whose images ``cell`` is made of; None without."""
        variant = self.options(cell.variant).works_on()
        if variant is None:
            return None
        return Cell(cell.dataset, variant, cell.seed if self.options(variant).varies() else self.seeds[0])

    def sources(self) -> list[Cell]:
        """The cells outside of the grid that one of it starts from or works on, directly or through others."""
        known = dict.fromkeys(self.cells())
        waiting = list(known)
        while waiting:
            cell = waiting.pop()
            for source in (self.source(cell), self.works_on(cell)):
                if source and source not in known:
                    known[source] = None
                    waiting.append(source)
        return list(known)[len(self.cells()) :]

    def weights(self, cell: Cell) -> str | None:
        """The file that ``cell`` starts from, if it is no other cell's."""
        start = self.config["variants"][cell.variant]["init_from"]
        return start["path"] if start else None

    def terms(self, dataset: str, variant: str) -> Terms:
        """The terms of what ``variant`` makes on ``dataset``: of the data, and of all it starts from or works on."""
        found, waiting, known = [], [Cell(dataset, variant, self.seeds[0])], set()
        while waiting:
            cell = waiting.pop(0)
            if (cell.dataset, cell.variant) in known:
                continue
            known.add((cell.dataset, cell.variant))
            row, data = self.config["variants"][cell.variant], self.dataset(cell.dataset)
            own = PHANTOM if data["terms"] is None and "phantom" in data["source"] else data["terms"]
            found.append(Origin.of(cell.dataset, own))
            if what := brings(row):
                found.append(Origin.of(f"{what} of {cell.variant}", row["terms"]))
            waiting += filter(None, [self.source(cell), self.works_on(cell)])
        return united(found)

    def all_terms(self) -> dict[str, dict[str, Any]]:
        """The record of `terms` by data set and variant, of each cell that is made."""
        found: dict[str, dict[str, Any]] = {}
        for cell in [*self.cells(), *self.sources()]:
            found.setdefault(cell.dataset, {})[cell.variant] = self.terms(cell.dataset, cell.variant).record()
        return found

    def recipe(self, cell: Cell) -> dict[str, Any]:
        """Everything that decides the result of a cell."""
        variant = self.config["variants"][cell.variant]
        family = variant["family"]
        data = self.store_spec(cell.dataset)
        if task := self.dataset(cell.dataset)["translate"]:
            data["translate"] = task
        if isinstance(data["labels"], dict) and "table" in data["labels"]:
            data["labels"] = data["labels"] | {"table": _hashed(data["labels"]["table"])}
        return {
            "data": {"dataset": cell.dataset, **data},
            "variant": {
                "name": cell.variant,
                "family": family,
                "revision": options_of(family).REVISION,
                "options": self.options(cell.variant).stated(cell.seed),
                **self._start(cell),
                **self._made_of(cell),
            },
            "training": self.config["training"] | variant["training"] if self.trained(cell.variant) else UNTRAINED,
            "seed": cell.seed,
            "revisions": {
                "data": DATA_REVISION,
                "train": TRAIN_REVISION,
                **self._reals(cell.variant),
                **self._masks(cell),
            },
        }

    def encoder(self, variant: str) -> str | None:
        """The extractor whose feature maps ``variant`` is made with; None without."""
        return self.options(variant).encoder()

    def judges(self, dataset: str) -> list[str]:
        """The extractors that judge ``dataset``: those of whole volumes see no slices."""
        axes = 3 if self.dataset(dataset)["volumes"] else 2
        return [name for name in self.metrics["extractors"] if axes >= registry.axes(name)]

    def extractors(self) -> list[str]:
        """The extractors that judge, and those that a variant is made with."""
        made_with = [self.encoder(cell.variant) for cell in [*self.cells(), *self.sources()]]
        return list(dict.fromkeys([*self.metrics["extractors"], *filter(None, made_with)]))

    def extractor_files(self) -> dict[str, str]:
        """The sha256 of the file that each extractor in use needs; of those that need one."""
        known = {name: registry.needed_file(name, registry.section(self.metrics, name)) for name in self.extractors()}
        return {name: file.sha256 for name, file in known.items() if file}

    def baselines(self) -> dict[str, str]:
        """The variants of the study that modify another one, each with that baseline; it may not be in the study."""
        named = {name: self.config["variants"][name]["baseline"] for name in self.variants}
        return {name: baseline for name, baseline in named.items() if baseline is not None}

    def _reals(self, variant: str) -> dict[str, int]:
        """The revision of changed volumes, of a variant that has them: no other run key depends on it."""
        return {"reals": REALS_REVISION} if getattr(self.options(variant), "augment_real", "none") != "none" else {}

    def _masks(self, cell: Cell) -> dict[str, int]:
        """The revision of masks, of a cell whose networks draw one: no other run key depends on it."""
        row = self.dataset(cell.dataset)
        draws = row["mask"] is not None and not row["translate"] and self.trained(cell.variant)
        return {"masks": MASKS_REVISION} if draws else {}

    def _start(self, cell: Cell) -> dict[str, Any]:
        """What the networks of ``cell`` start from, as in its recipe; empty if they are new."""
        start = self.config["variants"][cell.variant]["init_from"]
        if start is None:
            return {}
        source = self.source(cell)
        if source is None:
            return {"init_from": {"sha256": start["sha256"]}}
        return {"init_from": {"cell": source.folder, "run_key": run_key(self.recipe(source))}}

    def _made_of(self, cell: Cell) -> dict[str, Any]:
        """The cell whose images ``cell`` is made of, and what its feature maps are from, as in its recipe."""
        if (source := self.works_on(cell)) is None:
            return {}
        found: dict[str, Any] = {"cell": source.folder, "run_key": run_key(self.recipe(source))}
        if name := self.encoder(cell.variant):
            file = registry.needed_file(name, self.metrics[name])
            found["encoder"] = {"sha256": file.sha256} if file else self.metrics[name]
            found["encoder"] = found["encoder"] | {"revision": METRICS_REVISION}
        return {"made_of": found}

    def resources(self, kind: str) -> dict[str, Any]:
        """The resources of jobs of ``kind`` (data, train, evaluate)."""
        return self.config["resources"][kind]


def load(config: dict[str, Any], schema: str | Path) -> Study:
    """The study of ``config``, validated by the JSON schema and the rules between its parts, with defaults filled in.

    Raises `GanError` with one line: the key, its value, and what is allowed.
    """
    study = Study(complete(config, schema))
    trained = [*study.cells(), *study.sources()]
    for dataset, variant in dict.fromkeys((cell.dataset, cell.variant) for cell in trained):
        check_pair(study.config, dataset, variant)
    for cell in study.cells():
        check_place(study.config, cell.variant, cell.seed)
    return study


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def run_key(recipe: dict[str, Any]) -> str:
    """The first 12 hex digits of the sha256 of a recipe."""
    return hashlib.sha256(canonical(recipe).encode()).hexdigest()[:12]


def differences(recipe: dict[str, Any], baseline: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings in which a variant differs from its baseline: ``{"augment": ("none", "mri")}``, baseline first.

    Options go by their own names, other settings by their path in the recipe; name, seed and the revision of an option
    are no settings. A setting that one recipe lacks is None there, or the default of an option that recipes need not
    state. Of two families only the family is reported: their options are not comparable.
    """
    old, new = (_unstated(each) | flatten(each) for each in (baseline, recipe))
    passed_over = ["variant.name", "seed", "revisions.reals", "revisions.masks"]
    if old.get("variant.family") != new.get("variant.family"):
        passed_over += ["variant.revision", "variant.options"]
    keys = [key for key in dict.fromkeys([*old, *new]) if not key.startswith(tuple(passed_over))]
    changed = {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}
    return {key.removeprefix("variant.").removeprefix("options."): pair for key, pair in changed.items()}


def _unstated(recipe: dict[str, Any]) -> dict[str, Any]:
    """Options that ``recipe`` may leave out, by their paths in it, at their defaults."""
    family = recipe.get("variant", {}).get("family", "")
    return {f"variant.options.{name}": value for name, value in added(family).items()}


def identity(source: dict[str, Any]) -> dict[str, Any]:
    """Identify a source without its path: by its checksum if one is given, else by a hash of its path or address."""
    for algorithm in ("sha256", "md5"):
        if source.get(algorithm):
            return {algorithm: source[algorithm]}
    if "phantom" in source:
        return {"phantom": source["phantom"]}
    return {f"{kind}_hash": _hashed(source[kind]) for kind in ("path", "url") if kind in source}


def _hashed(place: str) -> str:
    """Tells one path or address from another, and hides what it may name: a user, a patient, a password."""
    return hashlib.sha256(place.encode()).hexdigest()[:12]
