"""Figures of the report as inline SVG: scores with intervals, losses; `gan.report.curves` has those over snapshots.

Colours are written as CSS variables (``--v0`` .. ``--v7`` for variants, ``--ink`` for text and axes), which the page
sets for light and dark; text stays text. The palette follows Okabe and Ito, which colour-blind readers tell apart; more
variants than colours differ by line style.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false

import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gan.cells import CellFiles, stats
from gan.metrics.facts import direction, title

matplotlib.use("svg")

PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6bd6", "#8a8a8a"]
STYLES = ["-", (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2))]
INK, FAINT = "#010203", "#040506"
STYLE = {
    **{"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.titlesize": 10.5},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": FAINT, "axes.linewidth": 0.8},
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.color": FAINT, "ytick.color": FAINT},
    **{"xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.titlelocation": "left", "grid.color": FAINT},
    **{"grid.alpha": 0.25, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6},
}
POINTS = 300  # of a line at most
Look = tuple[str, object]  # colour and line style
LOSSES = ("loss/G", "loss/D")
OF_THE_MACHINE = ("speed/", "memory/", "cost/", "phase/")


def look(variants: Sequence[str]) -> dict[str, Look]:
    """Colour and line style of each variant, the same in every figure of a page."""
    pairs = itertools.cycle([(colour, style) for style in STYLES for colour in PALETTE])
    return dict(zip(variants, pairs, strict=False))


def intervals(seeds: pd.DataFrame, means: pd.DataFrame, looks: dict) -> str:
    """Scores with 95 % intervals, a row a variant: dot and bar for the mean, small rings for the seeds, dashed floor.

    ``seeds`` and ``means`` hold one measurement of `gan.report.table.scores` and `comparison`.
    """
    if means.empty:
        return ""
    metric = str(means.metric.iloc[0])
    with matplotlib.rc_context(STYLE):
        means = means.sort_values("value", ascending=direction(metric) < 0)
        figure = Figure(figsize=(9.2, 0.8 + 0.42 * len(means)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(means.itertuples()):
            colour = looks[row.variant][0]
            if not math.isnan(row.low):
                axes.plot(
                    [row.low, row.high], [place, place], color=colour, linewidth=3, alpha=0.45, solid_capstyle="round"
                )
            own = seeds[seeds.variant == row.variant].value
            axes.plot(own, np.full(len(own), place), "o", color=colour, markerfacecolor="none", markersize=5, alpha=0.8)
            axes.plot([row.value], [place], "o", color=colour, markersize=8)
        floor = means.floor.mean()
        if not math.isnan(floor):
            axes.axvline(floor, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                "floor", (floor, 1), (4, -4), ("data", "axes fraction"), textcoords="offset points", fontsize=8.5
            )
        axes.set_yticks(range(len(means)), [plain(name) for name in means.variant])
        axes.set_ylim(len(means) - 0.5, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        better = {-1: " (lower is better)", 1: " (higher is better)", 0: ""}[direction(metric)]
        axes.set_xlabel(f"{title(metric)}{better}")
        return svg(figure, f"{title(metric)} with 95 % intervals")


def legend_of(
    figure: Figure, variants: Sequence[str], looks: dict[str, Look], more: Sequence[tuple[Line2D, str]] = ()
) -> None:
    """A legend above the panels: the line and the number of each variant, then what ``more`` adds."""
    keys = [Line2D([], [], color=looks[name][0], linestyle=looks[name][1], linewidth=2.2) for name in variants]
    names = [plain(f"{number_of(name, looks)} {name}" if len(looks) > 1 else name) for name in variants]
    columns = max(1, min(6, 100 // (4 + max(map(len, [*names, *(name for _, name in more)])))))
    keys, names = [*keys, *(line for line, _ in more)], [*names, *(name for _, name in more)]
    figure.legend(keys, names, loc="outside upper left", ncol=columns, frameon=False, handlelength=2.4)


def legend_height(looks: dict[str, Look]) -> float:
    """Inches that `legend_of` takes at most, so that panels keep their height."""
    return 0.22 * math.ceil((len(looks) + 1) / 3)


def number_of(variant: str, looks: dict[str, Look]) -> int:
    """By which a line is called next to its end, so that no colour has to be told apart."""
    return list(looks).index(variant) + 1


def label_ends(
    axes: Axes, ends: Mapping[str, tuple[float, float]], looks: dict[str, Look], names: bool = False, offset: float = 4
) -> None:
    """The number (or the name) of each variant, ``offset`` points right of (x, y), moved apart where they would touch.

    For the limits that the axes have now. Nothing for a single variant's number.
    """
    if len(looks) < 2 and not names:
        return
    axes.autoscale_view()
    to_fraction = axes.transScale + axes.transLimits
    places = {name: to_fraction.transform(point) for name, point in ends.items()}
    places = {name: place for name, place in places.items() if np.isfinite(place).all()}
    heights = apart([place[1] for place in places.values()], 0.062)
    lift = max(0.0, 0.02 - min(heights, default=0.0))  # off the labels of the axis below
    for (name, place), height in zip(places.items(), heights, strict=True):
        text = plain(name) if names else str(number_of(name, looks))
        axes.annotate(
            *(text, (place[0], height + lift), (offset, 0)),
            **{"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8.5, "va": "center"},
        )


def apart(values: Sequence[float], gap: float) -> list[float]:
    """``values`` moved as little as a pass upwards needs to lie ``gap`` from each other, about their own middle."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = list(values)
    for below, above in itertools.pairwise(order):
        found[above] = max(found[above], found[below] + gap)
    shift = (sum(values) - sum(found)) / len(values) if values else 0.0
    return [value + shift for value in found]


def statistics(cells: Sequence[CellFiles]) -> list[tuple[str, pd.DataFrame]]:
    """(variant, numbers over kimg) of each run that has begun: the scalars of ``stats.jsonl`` that tell of training."""
    runs = []
    for cell in cells:
        frame = pd.DataFrame(stats(cell.folder / "stats.jsonl"))
        if "kimg" in frame:
            names = [name for name in frame if "/" in name and not name.startswith(OF_THE_MACHINE)]
            numbers = frame[["kimg", *names]].apply(pd.to_numeric, errors="coerce")
            runs.append((cell.variant, numbers.replace([np.inf, -np.inf], np.nan).dropna(axis=1, how="all")))
    return runs


def losses(runs: Sequence[tuple[str, pd.DataFrame]], looks: dict) -> str:
    """The losses of generator and discriminator over kimg, a line a run of `statistics`; empty text without any."""
    names = [name for name in LOSSES if any(name in frame for _, frame in runs)]
    return _statistics(runs, names, looks, 2, 2.7, "losses over kimg", legend=True)


def details(runs: Sequence[tuple[str, pd.DataFrame]], looks: dict) -> str:
    """Small multiples of all else that `statistics` holds: terms of the losses, logits, r_t and p of ADA, gradients."""
    found = dict.fromkeys(name for _, frame in runs for name in frame if name not in ("kimg", *LOSSES))
    names = sorted(found, key=lambda name: name.partition("/")[0])
    return _statistics(runs, names, looks, 4, 1.85, "training statistics over kimg")


def _statistics(
    runs: Sequence[tuple[str, pd.DataFrame]],
    names: list[str],
    looks: dict,
    columns: int,
    height: float,
    title: str,
    legend: bool = False,
) -> str:
    if not names:
        return ""
    with matplotlib.rc_context({**STYLE, "font.size": 8.5, "axes.titlesize": 9}):
        count = math.ceil(len(names) / columns)
        figure = Figure(figsize=(9.2, height * count), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False).ravel()
        for axes, name in itertools.zip_longest(grid, names):
            if name is None:
                axes.set_visible(False)
                continue
            axes.set_title(plain(name))
            lines = [(variant, frame[["kimg", name]].dropna()) for variant, frame in runs if name in frame]
            lines = [(variant, _thin(line, min(POINTS, max(60, 6 * POINTS // len(lines))))) for variant, line in lines]
            for variant, line in lines:
                colour, style = looks[variant]
                axes.plot(line.kimg, line[name], color=colour, linestyle=style, linewidth=1, alpha=0.85)
            _without_spikes(axes, pd.concat([line[name] for _, line in lines]))
        variants = list(dict.fromkeys(variant for variant, frame in runs if set(names) & set(frame)))
        if legend and len(variants) > 1:
            legend_of(figure, variants, looks)
        return svg(figure, title)


def _without_spikes(axes: Axes, values: pd.Series) -> None:
    """Cut the axis where single spikes would flatten all else: beyond half the span of 98 % of the values."""
    low, high = values.quantile([0.01, 0.99])
    margin = (high - low) / 2
    if margin > 0 and (values.min() < low - margin or values.max() > high + margin):
        axes.set_ylim(max(values.min(), low - margin), min(values.max(), high + margin))


def _thin(line: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most this many points: means over neighbouring rows, so that a long run stays small and many stay legible."""
    if len(line) <= points:
        return line
    return line.groupby(np.arange(len(line)) * points // len(line)).mean()


def plain(text: str) -> str:
    """A name as matplotlib text: a dollar sign starts no formula."""
    return str(text).replace("$", r"\$")


def svg(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element that scales with its column and takes its colours from the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # they repeat in each figure, and nothing refers to them
    for place, colour in enumerate(PALETTE):
        text = text.replace(colour, f"var(--v{place})")
    text = text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    text = re.sub(r"(font:[^;\"]*?px) [^;\"]*", r"\1 var(--font)", text)
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r'\1role="img"', text, count=1)
