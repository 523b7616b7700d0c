"""The judge that all variants of a study share: extractors, the real images as reference, and a protocol.

`Judge.curve` scores one snapshot on the validation split. It is called during training, so that the curve can be
followed, and again afterwards, when it returns the stored scores.
"""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gan.errors import GanError
from gan.files import read_json, write_json
from gan.metrics.scores import CURVE, score, score_curve
from gan.sampling.snapshot import Snapshot, load_generator, load_header
from gan.sampling.tasks import chunks
from gan.scales import generated_to_labels, generated_to_uint8
from gan.scoring.extractors import files, registry
from gan.scoring.pixel_probe import PixelProbe
from gan.scoring.probes import FeatureProbe, LikenessProbe, MaskProbe, Probe, Samples
from gan.scoring.reference import ImageFacts, RealFeatures, Reference, Scored, joint, to_score
from gan.study import METRICS_REVISION, canonical
from gan.train.device import pick_device


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
        """From the section ``metrics``; keys of extractors are skipped, unknown ones are a `GanError`."""
        known = {field.name for field in fields(cls)}
        unknown = set(metrics) - known - {"extractors", *registry.names()}
        if unknown:
            raise GanError(f"metrics: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(known))}")
        if metrics.get("choose", "best") not in ("best", "final"):
            raise GanError(f"metrics.choose is {metrics['choose']!r}; allowed: best, final")
        return cls(**{key: value for key, value in metrics.items() if key in known})


class Judge:
    """Extractors and their reference, the real images of one data set; the first extractor leads.

    extractors, real, images: the files of `prepare_extractor`, `real_features` (in the same order) and `image_facts` of
    `gan.scoring.reference`. `GanError` if a file is missing, broken, or of another extractor.
    """

    def __init__(
        self,
        extractors: Sequence[str | os.PathLike],
        real: Sequence[str | os.PathLike],
        images: str | os.PathLike,
        device: str = "auto",
    ):
        self.device = pick_device(device)
        self.panel = [files.load(path, self.device) for path in extractors]
        known = [RealFeatures.load(path, extract.id) for extract, path in zip(self.panel, real, strict=True)]
        self.reference = Reference({of.extractor: of for of in known}, ImageFacts.load(images))

    @classmethod
    def read(cls, path: str | os.PathLike, device: str = "auto") -> tuple["Judge", Protocol]:
        """The judge and the protocol of curves from a file with ``extractors``, ``real``, ``images``, ``protocol``."""
        given = read_json(path)
        return cls(given["extractors"], given["real"], given["images"], device), Protocol.of(given["protocol"])

    @property
    def headline(self) -> str:
        """The metric that chooses among snapshots and leads the tables."""
        return self.leading(CURVE[0])

    def leading(self, metric: str) -> str:
        """The name of ``metric`` with the first extractor."""
        return registry.metric_name(metric, self.panel[0].name)

    def number(self, wanted: int) -> int:
        """Number of images to generate: ``wanted``, but at most the number of real training images for the floor."""
        return min(wanted, *(len(known.subjects["train"]) for known in self.reference.features.values()))

    def curve(self, path: Path, protocol: Protocol) -> list[dict[str, Any]]:
        """The metrics of `CURVE` of the snapshot ``path`` on the validation split, kept in a JSON file next to it."""
        # other latents than those of the final scores, so that choosing a snapshot does not flatter the chosen one
        seed, number = protocol.seed + 1, self.number(protocol.n_fake_curve)
        asked = {"extractors": [extract.id for extract in self.panel], "number": number, "seed": seed}
        asked |= {"truncation": protocol.truncation, "run_key": load_header(path)["run_key"]}
        asked |= {"revision": METRICS_REVISION, "metrics": CURVE}
        said = path.with_suffix(".json")
        if said.exists() and canonical((known := read_json(said))["asked"]) == canonical(asked):
            return known["rows"]
        generator = load_generator(path, self.device)
        probes = [
            FeatureProbe(extract, score_curve, "val", seed, joint(to_score(generator.data))) for extract in self.panel
        ]
        found = self.look(path, generator, number, seed, protocol.truncation, probes)
        rows = [{"kimg": generator.kimg, **row} for row in found]
        write_json(said, {"asked": asked, "rows": rows})
        return rows

    def scores(self, path: Path, generator: Snapshot, protocol: Protocol) -> list[dict[str, Any]]:
        """All metrics of the snapshot ``path`` on the test split, with their replicates."""
        probes = self.probes(protocol, generator.data, generator.mask_labels)
        number = self.number(protocol.n_fake)
        return self.look(path, generator, number, protocol.seed, protocol.truncation, probes)

    def probes(self, protocol: Protocol, data: dict[str, Any], mask_labels: int) -> list[Probe]:
        """The probes of all metrics on the test split, for samples that ``data`` of a store describes.

        mask_labels: the largest label of the mask.
        """
        together = joint(to_score(data))
        seed, bootstrap = protocol.seed, protocol.bootstrap
        scoring = functools.partial(score, bootstrap=bootstrap, seed=seed)
        probes: list[Probe] = [FeatureProbe(extract, scoring, "test", seed, together) for extract in self.panel]
        probes += [LikenessProbe(bootstrap, seed), PixelProbe(bootstrap, seed, data.get("axis") != "sagittal")]
        if mask := data["mask"]:
            probes.append(MaskProbe(mask, mask_labels, bootstrap, seed))
        return probes

    def look(
        self, path: Path, generator: Snapshot, number: int, seed: int, truncation: float, probes: Sequence[Probe]
    ) -> list[dict[str, Any]]:
        """The rows of ``probes`` on ``number`` images of ``generator``; the images are not kept."""
        contrasts = self._contrasts(path, generator)
        together: dict[int | None, list[Scored]] = {}
        for contrast in contrasts:
            together.setdefault(contrast.label, []).append(contrast)
        total, title = number * len(together), f"generate and extract, {generator.kimg:g} kimg"
        with tqdm(total=total, desc=title, unit="image", leave=False) as bar:
            for label, members in together.items():
                for images in chunks(generator, number, seed, label, truncation):
                    if not torch.isfinite(images).all():
                        raise GanError(
                            f"{path}: generates NaN or infinite values; its training diverged, see stats.jsonl"
                        )
                    batch = _samples(images, members, generator)
                    for probe in probes:
                        probe.add(batch)
                    bar.update(len(images))
        return [row for probe in probes for row in probe.rows(self.reference)]

    def _contrasts(self, path: Path, generator: Snapshot) -> list[Scored]:
        """The contrasts of ``generator`` to score; `GanError` if the reference has other contrasts."""
        contrasts = to_score(generator.data)
        self.check_contrasts(path, [contrast.name for contrast in contrasts])
        return contrasts

    def check_contrasts(self, path: str | os.PathLike, names: list[str]) -> None:
        """`GanError` that names ``path``, of samples of the contrasts ``names``, if the real images have others."""
        for known in (*self.reference.features.values(), self.reference.images):
            if names != known.contrasts:
                raise GanError(
                    f"{path}: makes the contrasts {', '.join(names)}, but the real images are of "
                    f"{', '.join(known.contrasts)}; score it with the files of its own data set"
                )


def _samples(images: torch.Tensor, contrasts: Sequence[Scored], generator: Snapshot) -> Samples:
    """Generated images [n, C, H, W] as probes see them."""
    grey = {name: generated_to_uint8(images[:, channel].numpy()) for name, channel, _ in contrasts}
    return Samples(
        grey, generated_to_labels(images[:, -1].numpy(), generator.mask_labels) if generator.mask_labels else None
    )
