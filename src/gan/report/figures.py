"""Figures of the report as inline SVG: curves over kimg, scores with intervals, losses.

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
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gan.cells import JOINT, CellFiles, stats
from gan.report.table import WHOLE, direction, metric_label

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
POINTS = 300


def look(variants: Sequence[str]) -> dict[str, tuple[str, object]]:
    """Colour and line style of each variant, the same in every figure of a page."""
    pairs = itertools.cycle([(colour, style) for style in STYLES for colour in PALETTE])
    return dict(zip(variants, pairs, strict=False))


def curve_rows(cells: Sequence[CellFiles]) -> pd.DataFrame:
    """The rows of all ``curve.json``, with dataset, variant and training seed."""
    rows = []
    for cell in cells:
        for row in cell.object("curve.json").get("rows") or []:
            own = {"dataset": cell.dataset, "variant": cell.variant, "seed": cell.seed}
            rows.append({**row, **own, "contrast": row.get("contrast") or WHOLE})
    names = [
        "dataset",
        "variant",
        "seed",
        "kimg",
        "metric",
        "contrast",
        "value",
        "extractor",
        "split",
        "n_real",
        "n_fake",
    ]
    frame = pd.DataFrame(rows, columns=[*names, "floor"])
    frame[["kimg", "value", "floor"]] = frame[["kimg", "value", "floor"]].astype(float)
    return frame.dropna(subset=["kimg", "value"])


def curves(rows: pd.DataFrame, looks: dict) -> str:
    """The score of every snapshot over kimg, one panel a contrast (at most four). ``rows``: one metric of `curve_rows`.

    A thick line is the mean over seeds, thin lines are the seeds, the dashed line is the real-against-real floor where
    the rows carry one. Empty text without rows.
    """
    if rows.empty:
        return ""
    names = sorted(rows.contrast.unique(), key=lambda name: (name != WHOLE, name != JOINT))[:4]
    if len(names) == 2 and WHOLE in names:  # the mean over one contrast is that contrast
        names = [WHOLE]
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(9.2, 3.9 if len(names) == 1 else 3.1 * math.ceil(len(names) / 2)), layout="constrained"
        )
        columns = 1 if len(names) == 1 else 2
        grid = figure.subplots(math.ceil(len(names) / columns), columns, squeeze=False).ravel()
        for axes in grid[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(grid, names, strict=False):
            _curve_panel(axes, rows[rows.contrast == name], looks)
            titles = {WHOLE: "all contrasts", JOINT: "contrasts of a sample together"}
            axes.set_title("" if len(names) == 1 else titles.get(name, name))
            axes.set_ylabel(metric_label(str(rows.metric.iloc[0])))
        return _svg(figure, "curves", f"{metric_label(str(rows.metric.iloc[0]))} of every snapshot over kimg")


def _curve_panel(axes: Axes, rows: pd.DataFrame, looks: dict) -> None:
    ends = []
    for variant, mine in rows.groupby("variant", sort=False):
        colour, style = looks[variant]
        for _, run in mine.groupby("seed"):
            run = run.sort_values("kimg")
            axes.plot(run.kimg, run.value, color=colour, linestyle=style, linewidth=0.8, alpha=0.45)
        mean = mine.groupby("kimg").value.mean()
        axes.plot(mean.index, mean.values, color=colour, linestyle=style, linewidth=2.2, marker="o", markersize=3.5)
        ends.append((mean.index[-1], mean.iloc[-1], variant, colour))
    floor = rows.floor.mean()
    positive = (rows.value > 0).all() and not floor <= 0
    if positive and rows.value.max() / rows.value.min() > 8:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if not math.isnan(floor):
        axes.axhline(floor, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("floor: real against real", (0, floor), (2, 3), "data", textcoords="offset points", fontsize=8.5)
    axes.set_xlabel("kimg (thousands of real images seen)")
    axes.margins(x=0.02)
    _label_ends(axes, ends)


def _label_ends(axes: Axes, ends: list[tuple]) -> None:
    """Names at the right ends of lines, moved apart vertically so that none covers another."""
    axes.figure.draw_without_rendering()  # lays out the axes and settles their limits
    height, step = axes.bbox.height, 13.0 * axes.figure.dpi / 72
    right = max(end[0] for end in ends)
    wanted = sorted((axes.transData.transform((x, y))[1] - axes.bbox.y0, name, colour) for x, y, name, colour in ends)
    place: list[float] = []
    for pixel, _, _ in wanted:
        place.append(max(pixel, place[-1] + step) if place else pixel)
    over = max(0.0, place[-1] - height)
    for (_, name, colour), pixel in zip(wanted, place, strict=True):
        at = (pixel - over) / height
        axes.annotate(
            _plain(name),
            (right, at),
            (7, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
            fontweight="bold",
        )


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
        axes.set_yticks(range(len(means)), [_plain(name) for name in means.variant])
        axes.set_ylim(len(means) - 0.5, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        better = {-1: " (lower is better)", 1: " (higher is better)", 0: ""}[direction(metric)]
        axes.set_xlabel(f"{metric_label(metric)}{better}")
        return _svg(figure, "intervals", f"{metric_label(metric)} with 95 % intervals")


def losses(cells: Sequence[CellFiles], looks: dict) -> str:
    """Small multiples over kimg of what training reported: losses, logits, r_t and p of ADA, seconds per kimg."""
    panels = ["loss/G", "loss/D", "logits/real", "logits/fake", "ada/rt", "ada/p", "grad/G", "grad/D"]
    runs = [(cell.variant, pd.DataFrame(stats(cell.folder / "stats.jsonl"))) for cell in cells]
    runs = [(variant, frame) for variant, frame in runs if "kimg" in frame]
    present = [name for name in panels if any(name in frame and frame[name].notna().any() for _, frame in runs)]
    if not present:
        return ""
    with matplotlib.rc_context({**STYLE, "font.size": 8.5, "axes.titlesize": 9}):
        count = math.ceil(len(present) / 4)
        figure = Figure(figsize=(9.2, 1.85 * count), layout="constrained")
        grid = figure.subplots(count, 4, squeeze=False).ravel()
        for axes, name in itertools.zip_longest(grid, present):
            if name is None:
                axes.set_visible(False)
                continue
            axes.set_title(name)
            for variant, frame in runs:
                if name in frame:
                    line = _thin(frame[["kimg", name]].apply(pd.to_numeric, errors="coerce").dropna())
                    colour, style = looks[variant]
                    axes.plot(line.kimg, line[name], color=colour, linestyle=style, linewidth=1, alpha=0.85)
        return _svg(figure, "losses", "training statistics over kimg")


def _thin(line: pd.DataFrame) -> pd.DataFrame:
    """At most `POINTS` points: means over neighbouring rows, so that a long run stays a small file."""
    if len(line) <= POINTS:
        return line
    return line.groupby(np.arange(len(line)) * POINTS // len(line)).mean()


def _plain(text: str) -> str:
    """A name as matplotlib text: a dollar sign starts no formula."""
    return str(text).replace("$", r"\$")


def _svg(figure: Figure, salt: str, title: str) -> str:
    """The figure as an ``<svg>`` element that scales with its column and takes its colours from the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for place, colour in enumerate(PALETTE):
        text = text.replace(colour, f"var(--v{place})")
    text = text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    text = re.sub(r"(font:[^;\"]*?px) [^;\"]*", r"\1 var(--font)", text)
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r'\1role="img"', text, count=1)
