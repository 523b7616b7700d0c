"""From canonical volumes to the packed store of slices or whole volumes: index, splits, preview pictures."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan.config.datasets import sides
from gan.data.cut import encode
from gan.data.cut.common import Encoded, Item
from gan.data.cut.whole import BODY, fitted, spacing_needed, unfitted
from gan.data.found import has, leaves
from gan.data.intensity import DEFAULT_PERCENTILES
from gan.data.ledger import Ledger
from gan.data.planes import VIEWS, three_planes
from gan.data.pool import ordered
from gan.data.sheet import Row, Tile, as_grey, contact_sheet, preview
from gan.data.store import stored_channels, writing
from gan.data.volumes import TABLE, channels
from gan.errors import GanError
from gan.files import as_named
from gan.labels import label_of

SHEET_ROWS, SHEET_TILES, SHEET_WIDTH = 12, 10, 20
PREVIEWS = 64


def build_store(
    row: dict[str, Any],
    volumes: Path,
    folder: Path,
    *,
    workers: int = 1,
    name: str = "dataset",
    previews: int = PREVIEWS,
) -> None:
    """Build the store of data set ``name`` (its ``row``) in ``folder`` from the ``volumes`` that `convert` wrote.

    previews: the most slices that are written as PNG as well, spread evenly over the store. The result depends on the
    row and the volumes alone, not on ``workers``. ``folder`` appears whole or not at all.

    Raises `GanError` when no slice passes the filter, the box of whole volumes cuts a body off, a split cannot be
    filled, a subject is in two splits, two splits hold the same image, or a volume has no intensity range.
    """
    items = items_of(row, Path(volumes))
    unit = "image" if row["layout"] == "images" else "subject"
    facts, whole = facts_of(row, name), bool(row.get("volumes"))
    if unfitted(row):
        needed = ordered(partial(spacing_needed, row=row), items, workers=workers, label="measure", unit=unit)
        row = fitted(row, list(needed))
    shape = (len(stored_channels(row)), *sides(row))
    with writing(Path(folder), shape) as writer:
        ledger = Ledger(row)
        label = "volume" if whole else "slice"
        encoded = ordered(partial(encode, row=row), items, workers=workers, label=label, unit=unit)
        for item, result in zip(items, encoded, strict=True):
            writer.append(result.images[ledger.add(item, result)])
        ledger.warn()
        try:
            index = ledger.index()
        except GanError as error:
            raise GanError(f"data set {name}: {error}") from error
        images = writer.images()
        top = 0 if row["mask"] is None else int(images[:, _mask(row)].max())
        contact_sheet(sheet_rows(row, index, ledger.shown, top), writer.folder / "contact_sheet.png")
        meta = facts | ledger.meta()
        spread_over = index[index["kept"]].iloc[spread(len(images), previews)]
        _previews(row, spread_over, images, writer.folder / "previews", top, meta["spacing"])
        writer.finish(index, ledger.subjects(index), meta)


def items_of(row: dict[str, Any], volumes: Path) -> list[Item]:
    """One item per scan of a subject, or per picture, sorted by subject."""
    try:
        table = pd.read_csv(volumes / TABLE, dtype=str, keep_default_na=False).map(as_named)
    except FileNotFoundError as error:
        raise GanError(f"{volumes / TABLE}: no such file; convert the data set first") from error
    if row["layout"] == "images":
        return picture_items(volumes, table)
    records: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for record in table.to_dict("records"):
        records.setdefault((record["subject"], record.get("scan", "")), {})[record["contrast"]] = record
    items = []
    for (subject, scan), of_contrast in sorted(records.items()):
        missing = [contrast for contrast in channels(row) if contrast not in of_contrast]
        if missing and not leaves(row):
            raise GanError(f"{volumes / TABLE}: subject {subject} has no {missing[0]}; convert the data set again")
        wanted = [of_contrast[contrast] for contrast in channels(row) if contrast in of_contrast]
        places = {record["contrast"]: volumes / record["file"] for record in wanted}
        files = tuple(places.get(contrast) for contrast in channels(row))
        notes = [f"{contrast} {record['notes']}" for contrast, record in of_contrast.items() if record.get("notes")]
        item = Item(subject, files, wanted[0]["label"], wanted[0]["split"], notes="; ".join(notes), scan=scan)
        items.append(item._replace(moved=_moved(wanted)))
    return with_tiles(items, row)


def with_tiles(items: list[Item], row: dict[str, Any]) -> list[Item]:
    """``items`` of volumes, of which a few are shown on the contact sheet."""
    tiles = min(SHEET_TILES, max(4, SHEET_WIDTH // len(channels(row))))
    for place in spread(len(items), SHEET_ROWS):
        items[place] = items[place]._replace(tiles=tiles)
    return items


def _moved(records: list[dict[str, str]]) -> dict[str, tuple[float, ...]]:
    """What `convert` says of the registration of each contrast: degrees, mm, correlation of edges."""
    columns = ("degrees", "mm", "correlation")
    registered = [record for record in records if record.get("transform")]
    return {record["contrast"]: tuple(float(record[name]) for name in columns) for record in registered}


def picture_items(volumes: Path, table: pd.DataFrame) -> list[Item]:
    """An item per picture of a ``table`` with the columns subject, file (relative to ``volumes``), label and split."""
    table = table.sort_values(["subject", "file"], kind="stable", ignore_index=True)
    numbers = table.groupby("subject").cumcount()
    items = [
        Item(line.subject, (volumes / line.file,), line.label, line.split, first)  # type: ignore[arg-type]
        for line, first in zip(table.itertuples(), numbers, strict=True)
    ]
    for places in table.groupby("label").indices.values():
        for place in places[spread(len(places), SHEET_TILES)]:
            items[place] = items[place]._replace(tiles=1)
    return items


def spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` indices in 0..count-1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def sheet_rows(row: dict[str, Any], index: pd.DataFrame, shown: list[tuple[Item, Encoded]], top: int) -> list[Row]:
    """A row of the contact sheet per subject, or per class of pictures; top: the largest label of the mask."""
    pictures, whole = row["layout"] == "images", bool(row.get("volumes"))
    split = dict(zip(index["subject"].tolist(), index["split"].tolist(), strict=True))
    rows: dict[str, list[Tile]] = {}
    for item, result in shown:
        title = "  ".join(filter(None, (item.subject, item.scan, split[item.subject], item.label)))
        tiles = rows.setdefault(item.label if pictures else title, [])
        for number, (place, image) in enumerate(result.tiles.items()):
            caption = title if pictures else VIEWS[number] if whole else _caption(result, place)
            tiles.append(Tile(as_grey(image, _mask(row), top), caption, whole or bool(result.kept[place])))
    return [Row(title, rows[title]) for title in sorted(rows)]


def _caption(result: Encoded, place: int) -> str:
    return f"{result.slices[place]}: {result.fractions[place]:.2f}"


def _previews(
    row: dict[str, Any], kept: pd.DataFrame, images: np.ndarray, folder: Path, top: int, spacing: list[float]
) -> None:
    """Each image of ``kept`` by contrast; of a whole volume its three planes side by side."""
    folder.mkdir()
    apart = row["labels"] == "contrast"
    scans = [f"_{scan}" * bool(scan) for scan in kept["scan"]] if "scan" in kept else [""] * len(kept)
    columns = [kept[key] for key in ("subject", "slice", "row", "label")]
    whole = bool(row.get("volumes"))
    flags: dict[str, Any] = {name: kept.set_index("row")[has(name)] for name in channels(row)} if leaves(row) else {}
    absent = {place: [name for name, there in flags.items() if not there[place]] for place in kept["row"]}
    for subject, number, place, label, scan in zip(*columns, scans, strict=True):
        names = [label] if apart else stored_channels(row)
        planes = three_planes(images[place], spacing) if whole else [images[place]]
        shown = np.concatenate([as_grey(plane, _mask(row), top) for plane in planes], axis=-1)
        for contrast, image in zip(names, shown, strict=True):
            if contrast not in absent.get(place, ()):
                preview(image, folder / f"{subject}{scan}_{number:03d}_{contrast}.png")


def _mask(row: dict[str, Any]) -> int | None:
    """The channel of the mask."""
    return None if row["mask"] is None else len(row["contrasts"])


def facts_of(row: dict[str, Any], name: str) -> dict[str, Any]:
    """What ``row`` decides of the ``store.json`` of data set ``name``."""
    intensity = dict(row["intensity"])
    if intensity["map"] == "percentile":
        ends = zip(("low", "high"), DEFAULT_PERCENTILES, strict=True)
        intensity |= {key: usual for key, usual in ends if intensity.get(key) is None}
    return {
        "dataset": name,
        "channels": stored_channels(row),
        "label_of": label_of(row["labels"]),
        "reference": row["reference"] or row["contrasts"][0],
        "mask": row["mask"],
        "size": list(sides(row)),
        **_cut(row),
        "intensity": intensity,
        "split": row["split"],
        **({"missing": row["missing"]} if leaves(row) else {}),
    }


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    """How images are cut out of volumes; of whole ones all are kept."""
    if spec := row.get("volumes"):
        kept = {"every": 1, "threshold": BODY, "fraction": 0.0}
        return {"volumes": {key: spec[key] for key in ("spacing", "centre", "fit")}, "filter": kept}
    spec = row["slices"]
    kept = {key: spec[key] for key in ("every", "threshold", "fraction")}
    return {"axis": spec["axis"], "fit": spec["fit"], "filter": kept}
