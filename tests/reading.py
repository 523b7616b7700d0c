"""A finished study made up for readings, in a second, and people who answer to its pages."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gan.data.store import writing
from gan.families.contract import ImageShape
from gan.families.registry import defaults, families
from gan.readers.questions import CUES, REAL, SYNTHETIC
from gan.sampling.snapshot import Snapshot, save_generator

SIDE, SLICES = 16, 20
LATER = "2999-01-01T08:00:00.000Z"  # when the answers began
CLASSES = ("benign", "malignant")
SPLITS = {"train": 8, "val": 5, "test": 12}  # patients


def make_study(root: Path, variants: tuple[str, ...] = ("dcgan",), classes: tuple[str, ...] = CLASSES) -> Path:
    """``results/study`` with the store of ``heads`` and a scored, untrained generator of each variant."""
    study = root / "results" / "study"
    write_store(study / "data/heads/store", classes)
    for place, variant in enumerate(variants):
        write_cell(study / "heads" / variant / "seed0", variant, place, classes)
    return study


def write_store(folder: Path, classes: tuple[str, ...]) -> None:
    """Discs that grow with the position, darker for the second class, with the noise of a patient."""
    rows, images = [], []
    reach = np.hypot(*np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j])
    for patient, split in enumerate(name for name, number in SPLITS.items() for _ in range(number)):
        rng, label = np.random.default_rng(patient), patient % max(1, len(classes))
        for number in range(SLICES):
            disc = np.where(reach < 0.2 + 0.7 * number / (SLICES - 1), 48000 - 12000 * label, 0)
            images.append((disc + rng.integers(0, 4000, disc.shape)).astype(np.uint16)[None])
            row = {"subject": f"PatientDoe{patient:02d}", "slice": number, "position": number / (SLICES - 1)}
            row |= {"fraction": 0.5, "kept": True, "reason": "", "label": classes[label] if classes else ""}
            rows.append(row | {"split": split, "row": len(images) - 1})
    folder.parent.mkdir(parents=True, exist_ok=True)
    meta = {"dataset": "heads", "channels": ["t1"], "mask": None, "labels": list(classes), "axis": "axial"}
    meta |= {"spacing": [1.0, 1.0], "filter": {"every": 1}}
    with writing(folder, (1, SIDE, SIDE)) as writer:
        writer.append(np.stack(images))
        writer.finish(pd.DataFrame(rows), pd.DataFrame({"subject": []}), meta)


def write_cell(folder: Path, variant: str, seed: int, classes: tuple[str, ...]) -> None:
    shape = ImageShape(1, (SIDE, SIDE), labels=len(classes))
    options = defaults("dcgan") | {"channels": 4, "z_dim": 8, "conditional": bool(classes)}
    torch.manual_seed(seed)
    from gan.families.registry import make_options

    network = families()["dcgan"].model.build_kept(make_options("dcgan", options), shape).eval()
    data = {"channels": ["t1"], "mask": None, "labels": list(classes), "label_counts": [80, 80][: len(classes)]}
    folder.mkdir(parents=True)
    save_generator(
        folder / "generator.pt", Snapshot(network, "dcgan", options, shape, 8, 1.0, f"runkey{variant}", data)
    )
    (folder / "recipe.json").write_text(json.dumps({"data": {"dataset": "heads"}}))
    scores = {"snapshot": {"kimg": 1.0, "chosen": "last", "metric": "kd"}, "scores": [{"metric": "kd"}]}
    (folder / "scores.json").write_text(json.dumps(scores))


def data_of(page: str) -> dict:
    """What the script of a page reads."""
    return json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def answered(key: dict, reader: str, call, rng: np.random.Generator, started: str | None = LATER) -> dict:
    """What ``reader`` saves whose decision for a case is ``call(synthetic, rng)``: above 0 is synthetic."""
    answers = []
    for item in key["readers"][reader]["items"]:
        value = call(key["cases"][item["case"]]["kind"] == SYNTHETIC, rng)
        answers.append(
            {
                "id": item["id"],
                "call": SYNTHETIC if value > 0 else REAL,
                "confidence": int(np.clip(1 + abs(value) // 0.5, 1, 3)),
                "realism": int(rng.integers(1, 6)),
                "cues": [cue for cue in CUES if rng.random() < 0.1],
                "ms": int(rng.integers(1000, 9000)),
            }
        )
    page = key["readers"][reader]["page"]
    return {"format": "gan-readers-answers-1", "page": page, "started": started, "finished": None, "answers": answers}


def write_answers(folder: Path, key: dict, call, seed: int = 0) -> list[Path]:
    """The files of all readers."""
    paths = []
    for place, reader in enumerate(key["readers"]):
        paths.append(folder / f"answers-{reader}.json")
        paths[-1].write_text(json.dumps(answered(key, reader, call, np.random.default_rng([seed, place]))))
    return paths
