"""The judge that all variants of a study share: extractors, the real images as reference, and a protocol.

`Judge.curve` scores one snapshot on the validation split. It is called during training, so that the curve can be
followed, and again afterwards, when it returns the stored scores.
"""

import functools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gan.data.store import Store
from gan.errors import GanError
from gan.families.registry import families
from gan.files import read_json, write_json
from gan.metrics.scores import CURVE, score, score_curve
from gan.sampling.snapshot import Snapshot, load_generator, load_header
from gan.sampling.tasks import available, latents
from gan.scoring.content_probe import ContentProbe
from gan.scoring.contrasts import joint, sided, to_score
from gan.scoring.copies import CopyProbe
from gan.scoring.extractors import files, registry
from gan.scoring.extractors.files import Extractor
from gan.scoring.extractors.radiomics.model import RadiomicFeatures
from gan.scoring.eyes import Search
from gan.scoring.moved_probe import MovedProbe
from gan.scoring.paired import PAIRED_CURVE, PairedProbe, direction
from gan.scoring.pixel_probe import PixelProbe
from gan.scoring.planes import named, slices_of
from gan.scoring.probes import AsPublishedProbe, FeatureProbe, LikenessProbe, MaskProbe, Probe, Samples
from gan.scoring.reference import ImageFacts, RealFeatures, Reference
from gan.scoring.samples import Translations, generated, way_back
from gan.study import METRICS_REVISION, canonical
from gan.train.device import pick_device


@dataclass(frozen=True)
class AsPublished:
    """Scores of every snapshot against ``reference``, the training images, by ``n_fake`` generated ones."""

    reference: str = "train"
    n_fake: int = 50_000


@dataclass(frozen=True)
class Protocol:
    """How cells are scored: those keys of the config's ``metrics`` that do not belong to an extractor.

    n_fake, n_fake_curve: generated images; bootstrap: resamples of subjects; choose: ``best`` by the curve, or
    ``final``; truncation: of the generator; seed: of generated images and resamples; as_published: None for no such
    scores.
    """

    n_fake: int = 5000
    n_fake_curve: int = 1000
    bootstrap: int = 1000
    choose: str = "best"
    truncation: float = 1.0
    seed: int = 0
    as_published: AsPublished | None = None

    @classmethod
    def of(cls, metrics: dict[str, Any]) -> "Protocol":
        """From the section ``metrics``; keys of extractors are skipped, unknown ones are a `GanError`."""
        known = {field.name for field in fields(cls)}
        unknown = set(metrics) - known - {"extractors", *registry.names()}
        if unknown:
            raise GanError(f"metrics: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(known))}")
        if metrics.get("choose", "best") not in ("best", "final"):
            raise GanError(f"metrics.choose is {metrics['choose']!r}; allowed: best, final")
        given = {key: value for key, value in metrics.items() if key in known}
        if (wanted := given.get("as_published")) is not None:
            given["as_published"] = _as_published(wanted)
        return cls(**given)


class Judge:
    """Extractors and their reference, the real images of one data set; `registry.leading` says which of them leads.

    extractors, real, images: the files of `prepare_extractor`, `real_features` (in the same order) and `image_facts` of
    `gan.scoring.reference`; store: of the data set, needed where its images are to be
    translated. left_out: by extractor that could not be made of this data set the reason; such are not in ``panel``.
    `GanError` if a file is missing, broken, or of another extractor.
    """

    def __init__(
        self,
        extractors: Sequence[str | os.PathLike],
        real: Sequence[str | os.PathLike],
        images: str | os.PathLike,
        device: str = "auto",
        store: str | os.PathLike | None = None,
    ):
        self.device, self.store = pick_device(device), store
        self._searches: dict[tuple[tuple[str, ...], int], Search] = {}
        reasons = {path: files.left_out(path) for path in extractors}
        self.left_out = {files.kind(path): reason for path, reason in reasons.items() if reason}
        used = [pair for pair in zip(extractors, real, strict=True) if not reasons[pair[0]]]
        self.panel = [files.load(path, self.device) for path, _ in used]
        known = [RealFeatures.load(path, extract.id) for extract, (_, path) in zip(self.panel, used, strict=True)]
        self.reference = Reference({of.extractor: of for of in known}, ImageFacts.load(images))

    @classmethod
    def read(cls, path: str | os.PathLike, device: str = "auto") -> tuple["Judge", Protocol]:
        """The judge and the protocol of curves from a file with the arguments and ``protocol``."""
        given = read_json(path)
        judge = cls(given["extractors"], given["real"], given["images"], device, given.get("store"))
        return judge, Protocol.of(given["protocol"])

    def headline(self, data: dict[str, Any]) -> str:
        """The metric that chooses among snapshots and leads the tables, of a generator with such ``data``."""
        return PAIRED_CURVE[0] if data.get("translate") else self.leading(CURVE[0])

    def leading(self, metric: str) -> str:
        """The name of ``metric`` with the leading extractor."""
        return registry.metric_name(metric, self.leader().name)

    def leader(self) -> Extractor:
        """The leading extractor."""
        return self.panel[registry.leading([extract.name for extract in self.panel])]

    def curve(self, path: Path, protocol: Protocol) -> list[dict[str, Any]]:
        """The metrics of `CURVE` of the snapshot ``path`` on the validation split, kept in a JSON file next to it."""
        # other latents than those of the final scores, so that choosing a snapshot does not flatter the chosen one
        seed, number = protocol.seed + 1, protocol.n_fake_curve
        asked = {"extractors": [extract.id for extract in self.panel], "number": number, "seed": seed}
        asked |= {"truncation": protocol.truncation, "run_key": load_header(path)["run_key"]}
        asked |= {"revision": METRICS_REVISION, "metrics": CURVE}
        if protocol.as_published:
            asked["as_published"] = asdict(protocol.as_published)
        said = path.with_suffix(".json")
        if said.exists() and canonical((known := read_json(said))["asked"]) == canonical(asked):
            return known["rows"]
        generator, truncation = load_generator(path, self.device), protocol.truncation
        given = [(extract, score_curve, "val", seed, self._joint(extract, generator.data)) for extract in self.panel]
        features = [FeatureProbe(*arguments) for arguments in given]
        if task := generator.task:
            slices = self._slices(path, generator, task, "val")
            found = self._translated(path, generator, slices, seed, 0, features)
        elif (wanted := protocol.as_published) and slices_of(generator.data) == 1:  # no publication scores planes
            # Image i depends on the seed and i alone: the first ones are those of the curve.
            features = [AsPublishedProbe(number, wanted.n_fake, self.device, *arguments) for arguments in given]
            found = self.look(path, generator, max(number, wanted.n_fake), seed, truncation, features)
        else:
            found = self.look(path, generator, number, seed, truncation, features)
        rows = [{"kimg": generator.kimg, **row} for row in found]
        write_json(said, {"asked": asked, "rows": rows})
        return rows

    def scores(
        self, path: Path, generator: Snapshot, protocol: Protocol, also: Sequence[Probe] = ()
    ) -> tuple[list[dict[str, Any]], list[Probe]]:
        """All metrics of the snapshot ``path`` on the test split, with their replicates, and the probes that made them.
        also: further probes, that see the images too.

        Of a family that translates both ways those of the way back, too, each direction by itself: `WHOLE` is of the
        way that the data set asks for, and so is the search.
        """
        seed, bootstrap = protocol.seed, protocol.bootstrap
        if task := generator.task:
            slices = self._slices(path, generator, task, "test")
            features = self._features(protocol, generator.data)
            copies = self._copies(features, protocol, generator.data)
            probes: list[Probe] = [*features, *copies, *self._moved(features, protocol, 0), *also]
            rows = self._translated(path, generator, slices, seed, bootstrap, probes)
            back = way_back(task, slices.mask) if families()[generator.family].model.both_ways else None
            if back is not None:
                slices = self._slices(path, generator, back, "test", backward=True)
                features = self._features(protocol)
                found = self._translated(path, generator, slices, seed, bootstrap, features)
                rows += [row for row in found if row["contrast"] in slices.directions]
            return rows, probes
        probes = [*self.probes(protocol, generator.data, generator.mask_labels), *also]
        rows = self.look(path, generator, protocol.n_fake, seed, protocol.truncation, probes)
        return rows + self._classes(generator, protocol, probes), probes

    def _moved(self, features: Sequence[FeatureProbe], protocol: Protocol, labels: int) -> list[MovedProbe]:
        """What moved, where there are radiomic features."""
        drawn = protocol.bootstrap, protocol.seed
        known = [probe for probe in features if isinstance(probe.extract, RadiomicFeatures)]
        return [MovedProbe(probe, self.store, labels, *drawn) for probe in known]

    def _copies(self, features: Sequence[FeatureProbe], protocol: Protocol, data: dict[str, Any]) -> list[CopyProbe]:
        """The search for copies among samples of ``data``; needs the store."""
        if self.store is None:
            return []
        leading = features[registry.leading([extract.name for extract in self.panel])]
        names = [one.name for one in to_score(data, leading.axes)]
        known = tuple(names), protocol.seed
        if known not in self._searches:
            store = Store.open(self.store)
            self._searches[known] = Search(store, leading.extract, self.reference, protocol.seed, names)
        return [CopyProbe(self._searches[known], leading, protocol.bootstrap)]

    def _classes(self, generator: Snapshot, protocol: Protocol, probes: Sequence[Probe]) -> list[dict[str, Any]]:
        """Scores of each class of a conditional generator, of the images that ``probes`` saw."""
        contrasts = generator.data.get("label_of") == "contrast"  # scored one by one already
        if not generator.shape.labels or contrasts or available(generator) is not None:
            return []
        samples = -(-protocol.n_fake // slices_of(generator.data))
        classes = latents(generator, samples, protocol.seed)[1].numpy()
        rows = []
        for probe in probes:
            if isinstance(probe, FeatureProbe):
                rows += probe.class_rows(self.reference, classes, generator.labels, protocol.bootstrap)
            if isinstance(probe, CopyProbe):
                rows += probe.class_rows(classes, generator.labels)
        return [row | {"truncation": protocol.truncation} for row in rows]

    def probes(self, protocol: Protocol, data: dict[str, Any], mask_labels: int) -> list[Probe]:
        """The probes of all metrics on the test split, for samples that ``data`` of a store describes.

        mask_labels: the largest label of the mask.
        """
        seed, bootstrap = protocol.seed, protocol.bootstrap
        features, voxel = self._features(protocol, data), _voxel(data)
        probes: list[Probe] = [*features, *self._copies(features, protocol, data)]
        probes += self._moved(features, protocol, mask_labels)
        probes += [LikenessProbe(bootstrap, seed), PixelProbe(bootstrap, seed, sided(data), voxel)]
        probes.append(ContentProbe(self.panel, bootstrap, seed, self.store))
        if mask := data["mask"]:
            probes.append(MaskProbe(mask, mask_labels, bootstrap, seed, voxel))
        return probes

    def _features(self, protocol: Protocol, data: dict[str, Any] | None = None) -> list[FeatureProbe]:
        """data: of samples whose contrasts are also scored together; None for each by itself."""
        scoring = functools.partial(score, bootstrap=protocol.bootstrap, seed=protocol.seed)
        return [
            FeatureProbe(extract, scoring, "test", protocol.seed, data is not None and self._joint(extract, data))
            for extract in self.panel
        ]

    def _joint(self, extract: files.Extractor, data: dict[str, Any]) -> bool:
        return joint(to_score(data, registry.axes(extract.name)))

    def look(
        self, path: Path, generator: Snapshot, number: int, seed: int, truncation: float, probes: Sequence[Probe]
    ) -> list[dict[str, Any]]:
        """The rows of ``probes`` on ``number`` images of ``generator``, or on as many as there are.

        Of volumes these are slices on each plane: so many whole volumes as have them.
        Fixed images are not truncated, and their rows say so.
        """
        contrasts, task = to_score(generator.data), generator.data.get("translate")
        self.check_contrasts(path, generator.data, None if not task else [contrast.name for contrast in contrasts])
        labels = dict.fromkeys(contrast.label for contrast in contrasts)
        number = -(-number // slices_of(generator.data))
        if limits := [limit for label in labels if (limit := available(generator, label)) is not None]:
            number, truncation = min([number, *limits]), 1.0
        samples = generated(generator, contrasts, number, seed, truncation)
        self._look(path, generator, samples, number * len(labels), probes)
        rows = [row | {"truncation": truncation} for probe in probes for row in probe.rows(self.reference)]
        return _by_direction(rows, task) if task else rows

    def _slices(
        self, path: Path, generator: Snapshot, task: dict[str, Any], split: str, backward: bool = False
    ) -> Translations:
        if self.store is None:
            raise GanError(f"{path}: translates images, and the judge was given no store of them")
        self.check_contrasts(path, generator.data, task["target"])
        conditional = bool(generator.options.get("conditional"))
        return Translations(Store.open(self.store), task, conditional, split, self.device, backward)

    def _translated(
        self,
        path: Path,
        generator: Snapshot,
        slices: Translations,
        seed: int,
        bootstrap: int,
        features: Sequence[Probe],
    ) -> list[dict[str, Any]]:
        """The rows of paired measures, all of the test split or those of a curve, and of ``features``."""
        split, task = slices.split, slices.task
        paired = PairedProbe(
            *(slices.directions, split, bootstrap, seed),
            **{"every": slices.every, "labels": slices.labels, "names": PAIRED_CURVE if split == "val" else None},
        )
        self._look(path, generator, slices.by(generator, seed), len(slices), [paired, *features])
        floors = self.reference.images.floors[split]
        rows = [row | _floor(row, floors) for row in paired.rows()]
        rows += _by_direction([row for probe in features for row in probe.rows(self.reference)], task)
        return [row | {"truncation": 1.0} for row in rows]

    def _look(
        self, path: Path, generator: Snapshot, samples: Iterator[Samples], total: int, probes: Sequence[Probe]
    ) -> None:
        """Show each batch to all ``probes``; the images are not kept."""
        with tqdm(total=total, desc=f"score, {generator.kimg:g} kimg", unit="image", leave=False) as bar:
            try:
                for batch in samples:
                    for probe in probes:
                        probe.add(batch)
                    bar.update(len(next(iter(batch.grey.values()))))
            except GanError as error:
                raise GanError(f"{path}: {error}") from error

    def check_contrasts(
        self, path: str | os.PathLike, data: dict[str, Any], targets: Sequence[str] | None = None
    ) -> None:
        """`GanError` that names ``path``, of samples that ``data`` describes, if the real images have other contrasts.

        targets: of translations, which may be some of the contrasts.
        """
        seen_by = {extract.id: registry.axes(extract.name) for extract in self.panel}
        known = [(of.contrasts, seen_by[id]) for id, of in self.reference.features.items()]
        made = data if targets is None else data | {"channels": list(targets), "mask": None}
        for contrasts, axes in [*known, (self.reference.images.contrasts, 3)]:
            names = [one.name for one in to_score(made, axes)]
            if names != contrasts if targets is None else set(names) - set(contrasts):
                raise GanError(
                    f"{path}: makes the contrasts {', '.join(names)}, but the real images are of "
                    f"{', '.join(contrasts)}; score it with the files of its own data set"
                )


def _voxel(data: dict[str, Any]) -> float | None:
    """A voxel of volumes that ``data`` describes, in ml; None of images."""
    return math.prod(data["spacing"]) / 1000 if data.get("volumes") else None


def _as_published(given: Any) -> AsPublished:
    """The section ``metrics.as_published``; `GanError` for what is not known."""
    known = AsPublished(**given) if isinstance(given, dict) and {*given} <= {"reference", "n_fake"} else None
    if known is None or known.reference != "train" or not isinstance(known.n_fake, int) or known.n_fake < 2:
        raise GanError(
            f"metrics.as_published is {canonical(given)}; give reference, which is train, and n_fake, 2 images or more"
        )
    return known


def _by_direction(rows: list[dict[str, Any]], task: dict[str, Any]) -> list[dict[str, Any]]:
    """``rows`` of targets, or of planes of them, called as those of translations into them."""
    targets = [name for target in task["target"] for name in (target, *named(target))]
    ways = {target: direction(task["source"], target) for target in targets}
    return [row | {"contrast": ways.get(row["contrast"], row["contrast"])} for row in rows]


def _floor(row: dict[str, Any], floors: dict[tuple[str, str], float]) -> dict[str, Any]:
    """The floor of a row of paired measures, its own or that of the data set, and the difference to it."""
    floor = floors.get((row["metric"], row["contrast"])) if row["floor"] is None else row["floor"]
    return {"floor": floor, "above_floor": None if floor is None else row["value"] - floor}
