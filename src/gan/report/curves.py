"""Scores of the snapshots over training as inline SVG: a panel each metric, or a panel each contrast."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gan.cells import JOINT, CellFiles
from gan.metrics.facts import direction, floor_of, title
from gan.report.figures import INK, STYLE, label_ends, legend_height, legend_of, plain, svg
from gan.report.table import MEASURE, WHOLE, measure_label, unit

STEEP = 8  # a panel whose values span more than this factor is logarithmic
FLOOR = (0, (4, 3))
COLUMNS = ["dataset", "variant", "seed", "kimg", "contrast", *MEASURE, "value", "floor", "k"]


def curve_rows(cells: Sequence[CellFiles]) -> pd.DataFrame:
    """The rows of all ``curve.json``, with dataset, variant and training seed."""
    rows = []
    for cell in cells:
        recipe = cell.object("recipe.json")
        for row in cell.object("curve.json").get("rows") or []:
            own = {"dataset": cell.dataset, "variant": cell.variant, "seed": cell.seed, "unit": unit(recipe, row)}
            rows.append({**row, **own, "contrast": row.get("contrast") or WHOLE})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame[["kimg", "value", "floor"]] = frame[["kimg", "value", "floor"]].astype(float)
    return frame.dropna(subset=["kimg", "value"])


def by_metric(rows: pd.DataFrame, looks: dict) -> str:
    """A panel each metric over kimg. ``rows``: one contrast and extractor of `curve_rows`. Empty text without rows."""
    panels = [(_title(mine.iloc[0]), mine) for _, mine in rows.groupby("metric", sort=False)]
    return _figure(panels, looks, "metrics of every snapshot over kimg")


def by_contrast(rows: pd.DataFrame, looks: dict) -> str:
    """A panel each contrast, their mean left out. ``rows``: one metric and extractor of `curve_rows`.

    Empty text for a single contrast.
    """
    names = sorted(rows.contrast[rows.contrast != WHOLE].unique(), key=lambda name: name != JOINT)
    if len(names) < 2:
        return ""
    titles = {JOINT: "contrasts of a sample together"}
    panels = [(titles.get(name, name), rows[rows.contrast == name]) for name in names]
    return _figure(panels, looks, f"{title(str(rows.metric.iloc[0]))} of each contrast over kimg")


def _figure(panels: list[tuple[str, pd.DataFrame]], looks: dict, title: str) -> str:
    """Thick lines are means over seeds, thin lines the seeds, the dashed line the floor of real images."""
    if not panels:
        return ""
    variants = list(dict.fromkeys(name for _, rows in panels for name in rows.variant))
    columns = min(2, len(panels))
    count = math.ceil(len(panels) / columns)
    with matplotlib.rc_context(STYLE):
        height = (2.6 if columns > 1 else 3.6) * count + legend_height(looks)
        figure = Figure(figsize=(9.2, height), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False).ravel()
        for axes, (name, rows) in zip(grid, panels, strict=False):
            _panel(axes, rows, looks)
            axes.set_title(plain(name))
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel("kimg (thousands of real images seen)")
        floor = f"floor: {floor_of(str(panels[0][1].metric.iloc[0]))}"
        known = any(rows.floor.notna().any() for _, rows in panels)
        legend_of(figure, variants, looks, [(Line2D([], [], color=INK, linewidth=1, linestyle=FLOOR), floor)] * known)
        return svg(figure, title)


def _panel(axes: Axes, rows: pd.DataFrame, looks: dict) -> None:
    rows = _without_start(rows)
    for variant, mine in rows.groupby("variant", sort=False):
        colour, style = looks[variant]
        for _, run in mine.groupby("seed"):
            run = run.sort_values("kimg")
            axes.plot(run.kimg, run.value, color=colour, linestyle=style, linewidth=0.8, alpha=0.45)
        mean = mine.groupby("kimg").value.mean()
        marker = "o" if len(mean) < 30 else None
        axes.plot(mean.index, mean.values, color=colour, linestyle=style, linewidth=2, marker=marker, markersize=3)
    floor = rows.floor.mean()
    distance = direction(str(rows.metric.iloc[0])) < 0
    logarithmic = distance and _scale(axes, rows.value.to_numpy())
    if not math.isnan(floor) and (floor > 0 or not logarithmic):
        axes.axhline(floor, color=INK, linewidth=1, linestyle=FLOOR)
    if not distance:  # parts of a whole
        axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    last = (
        rows.groupby(["variant", "kimg"], sort=False)
        .value.mean()
        .reset_index()
        .sort_values("kimg")
        .groupby("variant")
        .last()
    )
    label_ends(axes, {name: (row.kimg, row.value) for name, row in last.iterrows()}, looks)


def _without_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Distances without the untrained generator, next to which all later ones would look alike."""
    trained = rows[rows.kimg > 0]
    return trained if direction(str(rows.metric.iloc[0])) < 0 and len(trained) else rows


def _scale(axes: Axes, values: np.ndarray) -> bool:
    """Make a steep axis logarithmic, around 0 linear if there are values below; True if it cannot show 0."""
    low, high, usual = values.min(), np.abs(values).max(), np.quantile(np.abs(values), 0.25)
    if high <= STEEP * (low if low > 0 else usual):
        return False
    if low > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_yscale("symlog", linthresh=max(-low, usual, high / 1e4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    return bool(low > 0)


def _title(row: pd.Series) -> str:
    return measure_label(row).partition(" (")[0]
