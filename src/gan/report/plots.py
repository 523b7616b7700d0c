"""Further plots: precision against recall, a map of the features, scores by slice position, grey values and spectra.

All but the first are from ``shown/plots.json`` of each cell (`gan.scoring.plots`), of its first generated images.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gan.cells import CellFiles
from gan.metrics import facts
from gan.report.figures import FAINT, INK, STYLE, Look, label_ends, legend_height, legend_of, plain, svg
from gan.report.given import Dataset
from gan.report.table import leading_contrast

SMALL = {**STYLE, "font.size": 8.5, "axes.titlesize": 9}
MARKERS = "osD^vP*X<>hpd"
ON_A_LINE = 4  # maps
STEEP = 3  # a spectrum whose values span more than this factor is logarithmic
REAL = (Line2D([], [], color=INK, linewidth=1, linestyle=(0, (4, 3))), "real images")


def section(dataset: Dataset) -> dict[str, Markup] | None:
    """The figure of each plot that there is data for, by name; None without any."""
    found = {cell: points for cell in dataset.cells if (points := cell.object("shown/plots.json")).get("map")}
    drawn = {
        "precision": precision_recall(dataset),
        "map": feature_map(found, dataset.looks),
        "positions": by_position(found, dataset),
        "histogram": histogram(found, dataset.looks),
        "spectrum": spectrum(found, dataset.looks),
    }
    return {name: Markup(figure) for name, figure in drawn.items() if figure} or None


def precision_recall(dataset: Dataset) -> str:
    """Of the leading contrast and extractor; empty text where there are no such scores."""
    done = dataset.rows[dataset.rows.status == "finished"]
    leading = done[done.metric == dataset.lead]
    if leading.empty:
        return ""
    chosen = (done.contrast == leading_contrast(leading.contrast)) & (done.extractor == leading.extractor.iloc[0])
    named = {
        str(metric): known.name
        for metric in done.metric.unique()
        if (known := facts.fact(str(metric))) and not known.training
    }
    both = {
        name: done[chosen & (done.metric.map(named) == name)].drop_duplicates(["variant"]).set_index("variant")
        for name in ("precision", "recall")
    }
    variants = [name for name in both["precision"].index if name in both["recall"].index]
    if not variants:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 4.2), layout="constrained")
        axes = figure.subplots()
        x, y = (both[name].value.loc[variants] for name in ("recall", "precision"))
        for place, name in enumerate(variants):
            colour, marker = dataset.looks[name][0], MARKERS[list(dataset.looks).index(name) % len(MARKERS)]
            seeds = [_seeds(dataset, name, both[kind].loc[name]) for kind in ("recall", "precision")]
            axes.plot(*seeds, marker, color=colour, markersize=4, alpha=0.55, linestyle="none")
            axes.plot([x.iloc[place]], [y.iloc[place]], marker, color=colour, markersize=10)
        floor = [both[name].floor.loc[variants].mean() for name in ("recall", "precision")]
        if not any(map(math.isnan, floor)):
            axes.axvline(floor[0], color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.axhline(floor[1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(-0.02, 1.16)
        axes.set_ylim(-0.02, 1.04)
        label_ends(axes, {name: (x[name], y[name]) for name in variants}, dataset.looks, names=True, offset=9)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        return svg(figure, "precision against recall")


def _seeds(dataset: Dataset, variant: str, row: pd.Series) -> pd.Series:
    seeds = dataset.seeds
    mine = seeds[(seeds.variant == variant) & (seeds.contrast == row.contrast) & (seeds.metric == row.metric)]
    return mine[mine.extractor == row.extractor].drop_duplicates(["seed"]).sort_values("seed").value


def feature_map(found: Mapping[CellFiles, dict[str, Any]], looks: dict[str, Look]) -> str:
    """A panel each variant, real images below generated ones."""
    first: dict[str, dict[str, Any]] = {}
    for cell, points in found.items():
        first.setdefault(cell.variant, points["map"])
    if not first:
        return ""
    columns = min(ON_A_LINE, max(2, len(first)))
    with matplotlib.rc_context(SMALL):
        count = math.ceil(len(first) / columns)
        figure = Figure(figsize=(9.2, 0.3 + 9.2 / columns * count), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in grid[len(first) :]:
            axes.set_visible(False)
        for axes, (variant, points) in zip(grid, first.items(), strict=False):
            axes.set_title(plain(variant))
            axes.plot(*zip(*points["test"], strict=True), "o", color=FAINT, markersize=2.6, alpha=0.6, rasterized=False)
            axes.plot(*zip(*points["fake"], strict=True), "x", color=looks[variant][0], markersize=3, alpha=0.75)
        explained = next(iter(first.values()))["explained"]
        figure.supxlabel(f"axis 1 ({100 * explained[0]:.0f} %)", fontsize=8.5)
        figure.supylabel(f"axis 2 ({100 * explained[1]:.0f} %)", fontsize=8.5)
        return svg(figure, "map of features of real and generated images")


def by_position(found: Mapping[CellFiles, dict[str, Any]], dataset: Dataset) -> str:
    """A line each variant; empty text where no cell has scores by position."""
    scored = {cell: points["positions"] for cell, points in found.items() if points.get("positions")}
    if not scored:
        return ""
    edges = next(iter(scored.values()))["edges"]
    middles = [50 * (low + high) for low, high in itertools.pairwise(edges)]
    values = _means(scored, lambda points: points["value"])
    floors = _means(scored, lambda points: points["floor"])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.2 + legend_height(dataset.looks)), layout="constrained")
        axes = figure.subplots()
        for variant, line in values.items():
            colour, style = dataset.looks[variant]
            axes.plot(middles, line, color=colour, linestyle=style, marker="o", markersize=4)
        axes.plot(middles, next(iter(floors.values())), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        _ends(axes, middles, values, dataset.looks)
        axes.set_xlabel("slice position, % of the way through the volume")
        axes.set_ylabel("kernel distance")
        legend_of(figure, list(values), dataset.looks, [REAL])
        return svg(figure, "scores by slice position")


def histogram(found: Mapping[CellFiles, dict[str, Any]], looks: dict[str, Look]) -> str:
    """A panel each contrast."""

    def draw(axes: Axes, contrast: str) -> None:
        lines = _means(found, lambda points: points["pixels"][contrast]["histogram"]["fake"])
        known = next(iter(found.values()))["pixels"][contrast]["histogram"]["train"]
        middles = (np.arange(len(known)) + 0.5) * 256 / len(known)
        for variant, line in lines.items():
            axes.plot(middles, np.maximum(line, 1e-6), color=looks[variant][0], linestyle=looks[variant][1])
        axes.plot(middles, np.maximum(known, 1e-6), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yscale("log")
        axes.set_xlabel("grey value")
        _ends(axes, middles, lines, looks)

    return _by_contrast(found, looks, draw, "grey values of real and generated images")


def spectrum(found: Mapping[CellFiles, dict[str, Any]], looks: dict[str, Look]) -> str:
    """A panel each contrast."""

    def draw(axes: Axes, contrast: str) -> None:
        first = next(iter(found.values()))["pixels"][contrast]
        middles = [(low + high) / 2 for low, high in itertools.pairwise(first["frequency"])]
        lines = _means(found, lambda points: _ratio(points["pixels"][contrast]["power"], "fake"))
        for variant, line in lines.items():
            axes.plot(middles, line, color=looks[variant][0], linestyle=looks[variant][1], marker="o", markersize=3)
        axes.plot(middles, _ratio(first["power"], "val"), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.axhline(1, color=FAINT, linewidth=0.8)
        shown = np.concatenate(list(lines.values()))
        if np.nanmax(shown) > STEEP * np.nanmin(shown):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("cycles per pixel")
        _ends(axes, middles, lines, looks)

    return _by_contrast(found, looks, draw, "power spectra of generated over training images")


def _ratio(power: dict[str, list[float]], name: str) -> list[float]:
    """Of the power in each band to that of training images, each raised by that of rounding to whole grey values."""
    return [(one + 1 / 12) / (other + 1 / 12) for one, other in zip(power[name], power["train"], strict=True)]


def _means(found: Mapping[CellFiles, Any], take: Any) -> dict[str, np.ndarray]:
    """The mean over seeds of a list of numbers of each variant; None counts as missing."""
    by_variant: dict[str, list[np.ndarray]] = {}
    for cell, points in found.items():
        by_variant.setdefault(cell.variant, []).append(np.array(take(points), float))
    lines = {}
    for variant, values in by_variant.items():
        together = np.stack(values)
        there = np.isfinite(together)
        total = np.where(there, together, 0).sum(0)
        lines[variant] = np.where(there.any(0), total / np.maximum(there.sum(0), 1), np.nan)
    return lines


def _by_contrast(found: Mapping[CellFiles, dict[str, Any]], looks: dict[str, Look], draw: Any, title: str) -> str:
    if not found:
        return ""
    contrasts = list(next(iter(found.values()))["pixels"])
    found = {cell: points for cell, points in found.items() if list(points["pixels"]) == contrasts}
    columns = min(2, len(contrasts))
    with matplotlib.rc_context(STYLE):
        count = math.ceil(len(contrasts) / columns)
        variants = list(dict.fromkeys(cell.variant for cell in found))
        figure = Figure(figsize=(9.2, 3.0 * count + legend_height(looks)), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False).ravel()
        for axes in grid[len(contrasts) :]:
            axes.set_visible(False)
        for axes, contrast in zip(grid, contrasts, strict=False):
            axes.set_title(plain(contrast))
            draw(axes, contrast)
        legend_of(figure, variants, looks, [REAL])
        return svg(figure, title)


def _ends(axes: Axes, x: Sequence[float], lines: Mapping[str, np.ndarray], looks: dict[str, Look]) -> None:
    """Label each line at its last point."""
    ends = {}
    for name, line in lines.items():
        last = np.flatnonzero(np.isfinite(line))
        if len(last):
            ends[name] = (x[last[-1]], line[last[-1]])
    label_ends(axes, ends, looks)
