"""From a finished study to the pages of a reading, their key, and a record of both that is older than the answers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.cells import CellFiles
from gan.data.store import IMAGES, Store
from gan.errors import GanError
from gan.files import atomic_path, read_json, write_json
from gan.readers import design, page, pool
from gan.readers.match import Traits, every, matched
from gan.readers.questions import KEY, KEY_FILE, LEDGER, PAGES, REAL, SYNTHETIC

HELD_OUT, PRACTICE = "test", "val"  # the splits that real images are from: those that count, those of the warm-up


@dataclass(frozen=True)
class Plan:
    """What is asked for. images: real ones, and generated ones of each variant; warm_up: images before those that
    count; again: the share of images that come twice; enlarge: None for as much as fits a large screen."""

    images: int
    readers: int
    seed: int
    truncation: float
    warm_up: int
    again: float
    contrast: str | None
    enlarge: int | None
    smooth: bool
    rules: page.Rules


@dataclass(frozen=True)
class Cases:
    """All images of a reading, pictures [n, H, W], and what the key says of each."""

    pictures: NDArray[np.uint8]
    known: list[dict[str, Any]]

    def __add__(self, other: "Cases") -> "Cases":
        return Cases(np.concatenate([self.pictures, other.pictures]), [*self.known, *other.known])


@dataclass(frozen=True)
class Reading:
    """What is written: pages by file name, and the key."""

    pages: dict[str, str]
    key: dict[str, Any]

    @property
    def key_text(self) -> str:
        return json.dumps(self.key, indent=1) + "\n"


def compose(cells: Sequence[CellFiles], store: Store, plan: Plan, device: str) -> Reading:
    """The pages and the key of a reading of ``cells``, one of each variant. Equal arguments give equal bytes."""
    contrasts = pool.Contrasts.of(store, plan.contrast)
    ruler = pool.Ruler(contrasts)
    snapshots = {cell.variant: pool.load(cell, device) for cell in cells}
    practice = _spread(plan.warm_up - plan.warm_up // 2, len(cells))
    number, settings = plan.images + max(practice), {"seed": plan.seed, "truncation": plan.truncation}
    drawn = {
        name: pool.generated(snapshot, contrasts, ruler, number=number, **settings)
        for name, snapshot in snapshots.items()
    }
    variants = {
        cell.variant: {
            **{"family": snapshots[cell.variant].family, "run_key": snapshots[cell.variant].run_key},
            **{"kimg": snapshots[cell.variant].kimg, "training_seed": cell.seed, **settings},
        }
        for cell in cells
    }
    salt = design.secret(asdict(plan), store.meta.get("sha256", {}).get(IMAGES), variants)
    counted = {name: np.arange(plan.images) for name in drawn}
    before = {name: plan.images + np.arange(count) for name, count in zip(drawn, practice, strict=True)}
    main = _cases(contrasts, drawn, counted, pool.real(contrasts, ruler, HELD_OUT), plan.images, salt)
    warm = Cases(main.pictures[:0], [])
    if plan.warm_up:
        held = pool.real(contrasts, ruler, PRACTICE)
        warm = _cases(contrasts, drawn, before, held, plan.warm_up // 2, salt, of="validation patients")
    return _written(main + warm, len(main.known), store, contrasts, variants, plan, salt)


def _spread(count: int, parts: int) -> list[int]:
    """``count`` in ``parts`` numbers that differ by at most 1."""
    return [count // parts + (place < count % parts) for place in range(parts)]


def _cases(
    contrasts: pool.Contrasts,
    drawn: dict[str, pool.Pool],
    chosen: dict[str, NDArray[np.int64]],
    real: pool.Pool,
    number: int,
    salt: str,
    of: str = "test patients",
) -> Cases:
    """The images ``chosen`` of each variant, and ``number`` real ones that match them."""
    labels = contrasts.store.meta["labels"]
    traits = [drawn[name].traits.take(places) for name, places in chosen.items()]
    together = Traits(*(np.concatenate(parts) for parts in zip(*traits, strict=True)))
    rng = design.generator(salt, "real", of)
    rows = matched(every(together, number), real.traits, real.patients, rng, of)
    seen = rng.permutation(np.unique(real.patients[rows]))
    known = [
        {"kind": REAL, "patient": int(np.flatnonzero(seen == real.patients[row])[0])}
        | _traits(real.traits, row, labels)
        for row in rows
    ]
    pictures = [contrasts.pictures(real.images[rows])]
    for name, places in chosen.items():
        found = drawn[name]
        pictures.append(contrasts.pictures(found.images[places]))
        known += [
            {"kind": SYNTHETIC, "variant": name, "index": int(place)} | _traits(found.traits, place, labels)
            for place in places
        ]
    return Cases(np.concatenate(pictures), known)


def _traits(traits: Traits, place: int, labels: Sequence[str]) -> dict[str, Any]:
    position, label = float(traits.position[place]), int(traits.label[place])
    located = {} if np.isnan(position) else {"position": round(position, 3)}
    return located | ({"class": labels[label]} if label >= 0 else {})


def _written(
    cases: Cases,
    counted: int,
    store: Store,
    contrasts: pool.Contrasts,
    variants: dict[str, Any],
    plan: Plan,
    salt: str,
) -> Reading:
    height, width = cases.pictures.shape[1:]
    look = page.Look(plan.enlarge or page.fitting(height, width), plan.smooth)
    synthetic = [known["kind"] == SYNTHETIC for known in cases.known]
    repeats = round(plan.again * counted)
    pages, keyed = {}, {}
    for place in range(plan.readers):
        reader, name = f"reader{place + 1}", f"reader{place + 1}.html"
        items = design.items(range(counted, len(cases.known)), range(counted), repeats, reader, salt)
        known = design.page_id(salt, reader)
        pages[name] = page.render(known, reader, items, cases.pictures, synthetic, look, plan.rules)
        keyed[reader] = {"page": known, "sha256": _sha256(pages[name]), "items": [item._asdict() for item in items]}
    key = {
        "format": KEY,
        **{"dataset": store.meta.get("dataset"), "contrasts": list(contrasts.names), "size": [height, width]},
        **{"images": plan.images, "repeats": repeats, "warm_up": plan.warm_up, "seed": plan.seed},
        **{"share_stated": plan.rules.share, "feedback": plan.rules.feedback, **asdict(look)},
        **{"variants": variants, "cases": cases.known, "readers": keyed},
    }
    return Reading(pages, key)


def write(reading: Reading, folder: Path) -> None:
    """Write pages and key into ``folder``, and their sha256 into the ledger next to it.

    A reading that is there already stays if it is the same; else `GanError`: answers to its pages would be lost.
    """
    keys = folder / KEY_FILE
    if keys.exists():
        if keys.read_text(encoding="utf-8") != reading.key_text:
            raise GanError(f"{folder}: holds another reading, whose answers need its key; choose another --name")
    elif folder.exists() and any(folder.iterdir()):
        raise GanError(f"{folder}: holds files of something else; choose another --name")
    sums = {name: _sha256(text) for name, text in reading.pages.items()}
    _note(folder.parent / LEDGER, {"reading": folder.name, "key": _sha256(reading.key_text), "pages": sums})
    _write_text(keys, reading.key_text)
    for name, text in reading.pages.items():
        _write_text(folder / PAGES / name, text)


def _note(ledger: Path, entry: dict[str, Any]) -> None:
    """Add ``entry`` to the ledger with the time, unless it is there."""
    found = read_json(ledger) if ledger.exists() else []
    if not any(entry.items() <= old.items() for old in found):
        write_json(ledger, [*found, {**entry, "made": datetime.now(UTC).isoformat(timespec="seconds")}])


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def summary(reading: Reading, folder: Path) -> list[str]:
    """What the command prints: what was made, for whom, and what it shows."""
    key = reading.key
    real = [known for known in key["cases"] if known["kind"] == REAL][: key["images"]]
    patients = len({known["patient"] for known in real})
    shown = next(iter(key["readers"].values()))["items"]
    drawn = ", ".join(f"{name} (truncation {of['truncation']:g})" for name, of in key["variants"].items())
    return [
        *(str(folder / PAGES / name) for name in reading.pages),
        f"Each shows {len(shown)} images: {key['warm_up']} to warm up, {key['images']} real slices of {patients} test "
        f"patients and as many images of {drawn}; {key['repeats']} come twice.",
        f"Key: {folder / KEY_FILE}. Keep it from the readers. Its sha256 and those of the pages are in "
        f"{folder.parent / LEDGER}.",
        f"The pages show scans of patients: give them only to people who may see these scans. Then: gan readers score "
        f"{folder / KEY_FILE} answers-*.json",
    ]
