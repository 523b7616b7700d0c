"""The features of a data set's real images as a file: worked out once per extractor, shared by all cells."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.errors import GanError
from gan.files import atomic_path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class RealFeatures:
    """extractor: its id; features[split][contrast]: float32 [n, d]; subjects[split]: codes [n] without meaning.

    similarity[contrast]: MS-SSIM of pairs of training images of different subjects, [pairs]. areas: those of
    the labels of the training masks, in % of the image [n, L], L = 0 without a mask (`gan.metrics.areas`).
    """

    extractor: str
    features: dict[str, dict[str, NDArray[np.float32]]]
    subjects: dict[str, NDArray[np.int64]]
    similarity: dict[str, NDArray[np.float64]]
    areas: NDArray[np.float64]

    @property
    def contrasts(self) -> list[str]:
        return list(self.features["train"])

    def draw(self, number: int, seed: int) -> dict[str, NDArray[np.float32]]:
        """``number`` of the training images, without replacement, the same ones for every contrast."""
        rows = np.random.default_rng([seed, 2]).permutation(len(self.subjects["train"]))[:number]
        return {contrast: features[np.sort(rows)] for contrast, features in self.features["train"].items()}

    def save(self, path: str | os.PathLike) -> None:
        """Write an uncompressed .npz, atomically."""
        arrays = {f"subjects/{split}": codes for split, codes in self.subjects.items()}
        arrays |= {f"similarity/{contrast}": values for contrast, values in self.similarity.items()}
        arrays["areas"] = self.areas
        for split, by_contrast in self.features.items():
            arrays |= {f"features/{split}/{contrast}": features for contrast, features in by_contrast.items()}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, extractor=np.array(self.extractor), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike, extractor: str) -> "RealFeatures":
        """Read the file of `save`. Raises `GanError` if it is absent, broken, or of another extractor than that id."""
        remedy = "delete it and rerun the step that makes the features"
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            found = str(arrays["extractor"])
        except FileNotFoundError as error:
            raise GanError(f"{path}: no such file; run the step that makes the features of the real images") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise GanError(f"{path}: not a file of features, or a broken one; {remedy}") from error
        if found != extractor:
            raise GanError(f"{path}: features of the extractor {found}, but {extractor} is asked for; {remedy}")
        features: dict[str, dict[str, NDArray]] = {split: {} for split in SPLITS}
        for name, array in arrays.items():
            if name.startswith("features/"):
                _, split, contrast = name.split("/", 2)
                features[split][contrast] = array
        subjects = {split: arrays[f"subjects/{split}"] for split in SPLITS}
        similarity = {contrast: arrays[f"similarity/{contrast}"] for contrast in features["train"]}
        return cls(found, features, subjects, similarity, arrays["areas"])
