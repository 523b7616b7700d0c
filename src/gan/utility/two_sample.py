"""Can a network tell generated images from those of patients? A classifier two-sample test (Lopez-Paz and Oquab 2017).

The network learns from training patients and generated images, half of each batch each. It is tested on patients and on
generated images that it has not seen: if both came from one distribution, the area under its curve would be 0.5 but for
chance, whatever it has learned.
"""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from gan.utility.images import Labelled
from gan.utility.options import REVISION, Settings
from gan.utility.reference import Setting
from gan.utility.scores import plain
from gan.utility.training import predict, train


def told_apart(
    setting: Setting, images: Labelled, settings: Settings, seed: int, device: torch.device
) -> dict[str, Any]:
    """By patient the scores of the slices of test patients, ``real``, and those of generated images, ``generated``: a
    high one says generated.

    images: generated ones; a part as large as that of the test slices is kept for the test.
    """
    real = setting.real
    known, unseen = shared(images, len(real["train"].images), len(real["test"].images))
    given = [(_as(real["train"].images, 0), 0.5), (_as(known, 1), 0.5)]
    network = train(setting.made, given, settings, seed, device)
    of_real, of_made = (np.diff(predict(network, of.pixels, device))[:, 0] for of in (real["test"].images, unseen))
    by_patient = [plain(of_real[real["test"].subjects == code]) for code in range(len(real["test"].patients))]
    numbers = {"train": len(real["train"].patients), "images": len(known)}
    facts = {"revision": REVISION, "settings": asdict(settings), "seed": seed, "trained_on": numbers}
    return facts | {"real": by_patient, "generated": plain(of_made)}


def shared(images: Labelled, train: int, test: int) -> tuple[Labelled, Labelled]:
    """The first ``train`` and the next ``test`` of ``images``, or fewer in the same ratio if there are not so many."""
    cut = min(train, round(len(images) * train / (train + test)))
    return images.take(np.arange(cut)), images.take(np.arange(cut, min(len(images), cut + test)))


def _as(images: Labelled, name: int) -> Labelled:
    return replace(images, classes=np.full(len(images), name))
