"""The judge that all variants of a study share: extractors, the features of the real images, and a protocol.

`Judge.curve` scores one snapshot on the validation split. It is asked while a variant trains, so that the curve can be
watched, and once more afterwards, when it reads what it has said before.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gan import grids
from gan.cells import JOINT
from gan.errors import GanError
from gan.files import read_json, write_json
from gan.metrics import features
from gan.metrics.areas import label_areas
from gan.metrics.real import RealFeatures
from gan.metrics.scores import (
    CURVE,
    PIXELS,
    Sets,
    join,
    metric_name,
    score_areas,
    score_curve,
    score_similarity,
)
from gan.metrics.ssim import PAIRS, similarity_of_pairs
from gan.study import METRICS_REVISION, canonical
from gan.train.device import pick_device
from gan.train.snapshot import Snapshot, load_generator, load_header


@dataclass(frozen=True)
class Protocol:
    """How cells are scored: those keys of the config's ``metrics`` that do not belong to an extractor.

    n_fake, n_fake_curve: generated images, at most (never more than there are training images, so that the floor has
    the same number); bootstrap: resamples of subjects; choose: ``best`` by the curve, or ``final``; truncation: of the
    generator; seed: of generated images and resamples.
    """

    n_fake: int = 10000
    n_fake_curve: int = 2000
    bootstrap: int = 200
    choose: str = "best"
    truncation: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, metrics: dict[str, Any]) -> "Protocol":
        """From the section ``metrics``; keys of extractors are passed over, unknown ones are a `GanError`."""
        known = {field.name for field in fields(cls)}
        unknown = set(metrics) - known - {"extractors", *features.KINDS}
        if unknown:
            raise GanError(f"metrics: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(known))}")
        if metrics.get("choose", "best") not in ("best", "final"):
            raise GanError(f"metrics.choose is {metrics['choose']!r}; allowed: best, final")
        return cls(**{key: value for key, value in metrics.items() if key in known})


class Extracted(NamedTuple):
    """features: of each extractor, by contrast [n, d], and joint ones where images have several contrasts; pairs: by
    contrast, MS-SSIM of as many pairs of them as were asked for; areas: of the labels of masks, % [n, L]."""

    features: list[dict[str, NDArray[np.float32]]]
    pairs: dict[str, NDArray[np.float64]]
    areas: NDArray[np.float64]


class Judge:
    """Extractors with the features that they give of the real images of one data set; the first one leads.

    extractors, real: the files of `gan.evaluate.prepare_extractor` and `gan.evaluate.real_features`, in the same order.
    `GanError` if a file is missing, broken, or of another extractor.
    """

    def __init__(
        self, extractors: Sequence[str | os.PathLike], real: Sequence[str | os.PathLike], device: str = "auto"
    ):
        self.device = pick_device(device)
        loaded = [features.load(path, self.device) for path in extractors]
        self.panel = [
            (extract, RealFeatures.load(path, extract.id)) for extract, path in zip(loaded, real, strict=True)
        ]

    @classmethod
    def read(cls, path: str | os.PathLike, device: str = "auto") -> tuple["Judge", Protocol]:
        """The judge and the protocol of curves from a file with ``extractors``, ``real`` and ``protocol``."""
        given = read_json(path)
        return cls(given["extractors"], given["real"], device), Protocol.of(given["protocol"])

    @property
    def headline(self) -> str:
        """The metric that chooses among snapshots and leads the tables."""
        return self.leading(CURVE[0])

    def leading(self, metric: str) -> str:
        """What ``metric`` is called with the first extractor."""
        return metric_name(metric, self.panel[0][0].name)

    def number(self, wanted: int) -> int:
        """Images to generate: as many as wanted, but no more than there are real training images for the floor."""
        return min(wanted, *(len(known.subjects["train"]) for _, known in self.panel))

    def rows(
        self, fakes: Sequence[dict[str, NDArray]], split: str, seed: int, scoring: Callable
    ) -> list[dict[str, Any]]:
        """Scores of generated features (an entry of ``fakes`` an extractor) with all that they depend on.

        scoring: from `Sets` to rows, `gan.metrics.scores.score` or `score_curve`.
        """
        rows = []
        for (extract, known), fake in zip(self.panel, fakes, strict=True):
            number = len(next(iter(fake.values())))
            real = (known.features[split], known.features["train"], known.draw(number, seed))
            held_out, train, reference = map(join, real) if JOINT in fake else real
            sets = Sets(held_out, fake, known.subjects[split], train, reference)
            conditions = {"split": split, "n_real": len(known.subjects[split]), "n_fake": number}
            conditions |= {"extractor": extract.id, "seed": seed}
            rows += [row | {"metric": metric_name(row["metric"], extract.name)} | conditions for row in scoring(sets)]
        return rows

    def similarity(self, pairs: dict[str, NDArray], seed: int, bootstrap: int) -> list[dict[str, Any]]:
        """Rows of how alike generated images are (``pairs`` of `extract`), beside training images."""
        real = self.panel[0][1].similarity
        numbers = {name: 2 * len(next(iter(of.values()))) for name, of in (("n_real", real), ("n_fake", pairs))}
        conditions = {"split": "train", **numbers, "extractor": PIXELS, "seed": seed}
        return [row | conditions for row in score_similarity(pairs, real, bootstrap=bootstrap, seed=seed)]

    def areas(self, fake: NDArray, mask: str, seed: int, bootstrap: int) -> list[dict[str, Any]]:
        """Rows of the labels of generated masks (areas [n, L] of `extract`), beside those of all training images."""
        real = self.panel[0][1].areas
        conditions = {"split": "train", "n_real": len(real), "n_fake": len(fake), "extractor": PIXELS, "seed": seed}
        return [row | conditions for row in score_areas(fake, real, mask, bootstrap=bootstrap, seed=seed)]

    def extract(
        self, path: Path, generator: Snapshot, number: int, seed: int, truncation: float, pairs: int = PAIRS
    ) -> Extracted:
        """What `Extracted` says of ``number`` generated images, which are not kept."""
        contrasts = to_score(generator.data)
        names = [contrast.name for contrast in contrasts]
        for _, known in self.panel:
            if names != known.contrasts:
                raise GanError(
                    f"{path}: makes the contrasts {', '.join(names)}, but the real features are of "
                    f"{', '.join(known.contrasts)}; score it with the features of its own data set"
                )
        parts: list[dict[str, list[NDArray]]] = [{name: [] for name in names} for _ in self.panel]
        alike: dict[str, list[NDArray]] = {name: [] for name in names}
        areas: list[NDArray] = []
        together: dict[int | None, list[Scored]] = {}
        for contrast in contrasts:
            together.setdefault(contrast.label, []).append(contrast)
        with tqdm(
            total=number * len(together),
            desc=f"generate and extract, {generator.kimg:g} kimg",
            unit="image",
            leave=False,
        ) as bar:
            for label, members in together.items():
                for images in generator.chunks(number, seed, label, truncation):
                    if not torch.isfinite(images).all():
                        raise GanError(
                            f"{path}: generates NaN or infinite values; its training diverged, see stats.jsonl"
                        )
                    for name, channel, _ in members:
                        grey = features.generated_to_uint8(images[:, channel].numpy())
                        for (extract, _), part in zip(self.panel, parts, strict=True):
                            part[name].append(extract(grey))
                        room = pairs - sum(map(len, alike[name]))
                        alike[name].append(similarity_of_pairs(grey[: 2 * room]))
                    masks = grids.to_labels(images[:, -1].numpy(), generator.mask_labels)
                    areas.append(label_areas(masks, generator.mask_labels))
                    bar.update(len(images))
        *found, similarity = [
            {name: np.concatenate(blocks) for name, blocks in part.items()} for part in (*parts, alike)
        ]
        if len(names) > 1 and None in together:
            found = [join(fake) for fake in found]
        return Extracted(found, similarity, np.concatenate(areas))

    def curve(self, path: Path, protocol: Protocol) -> list[dict[str, Any]]:
        """The metrics of `CURVE` of the snapshot ``path`` on the validation split, kept in a JSON file beside it."""
        # other latents than those of the final scores, so that choosing a snapshot does not flatter the chosen one
        seed, number = protocol.seed + 1, self.number(protocol.n_fake_curve)
        asked = {"extractors": [extract.id for extract, _ in self.panel], "number": number, "seed": seed}
        asked |= {"truncation": protocol.truncation, "run_key": load_header(path)["run_key"]}
        asked |= {"revision": METRICS_REVISION, "metrics": CURVE}
        said = path.with_suffix(".json")
        if said.exists() and canonical((known := read_json(said))["asked"]) == canonical(asked):
            return known["rows"]
        generator = load_generator(path, self.device)
        fakes = self.extract(path, generator, number, seed, protocol.truncation, pairs=0).features
        rows = [{"kimg": generator.kimg, **row} for row in self.rows(fakes, "val", seed, score_curve)]
        write_json(said, {"asked": asked, "rows": rows})
        return rows


class Scored(NamedTuple):
    """A contrast, and where it is: the channel of an image, and the class of the image if classes are contrasts."""

    name: str
    channel: int
    label: int | None = None


def to_score(meta: dict[str, Any]) -> list[Scored]:
    """The contrasts of images that ``meta`` of their store describes: all channels but the mask, or all classes."""
    if meta.get("label_of") == "contrast":
        return [Scored(name, 0, label) for label, name in enumerate(meta["labels"])]
    return [Scored(name, place) for place, name in enumerate(meta["channels"]) if name != meta.get("mask")]
