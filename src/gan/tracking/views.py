"""Saved views of an experiment: a leaderboard, curves with samples, and means over seeds, one click from a link.

MLflow keeps a shared view as an experiment tag ``mlflow.sharedViewState.<key>`` that holds JSON with the state of the
page, compressed. The format is MLflow's own and not promised (written for 3.17): a view that a later version cannot
read is ignored by it, and nothing else depends on it.
"""

import base64
import json
import re
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from PIL import Image

from gan.metrics.facts import direction

TAG = "mlflow.sharedViewState."
LEADERBOARD, CURVES, MEANS = "leaderboard", "curves", "means"
KEYS = (CURVES, LEADERBOARD, MEANS)
SAMPLES = "samples/ema"
ROUTE = "/#/experiments/{id}/runs?workflowType=machine_learning&compareRunsMode={mode}"


def link(base: str, experiment_id: str, key: str | None) -> str:
    """The address that opens the saved view ``key`` on the server at ``base``; None: the plain table of runs."""
    mode = "TABLE" if key in (None, LEADERBOARD) else "CHART"
    return base.rstrip("/") + ROUTE.format(id=experiment_id, mode=mode) + (f"&viewStateShareKey={key}" if key else "")


def saved(tags: Mapping[str, str]) -> list[str]:
    """The views that an experiment with these tags has, the one to open first in front."""
    return [key for key in KEYS if TAG + key in tags]


def entrance(base: str, experiment_id: str, tags: Mapping[str, str]) -> str:
    """The address of the first view that an experiment with these tags has; of its runs before there is one."""
    return link(base, experiment_id, next(iter(saved(tags)), None))


def save(
    client: MlflowClient,
    experiment_id: str,
    *,
    lead: str,
    lower: bool,
    first: Sequence[str],
    known: Collection[str],
    curves: Sequence[str],
    step: int,
) -> None:
    """Write the three views of an experiment, unless they are there already.

    lead: metric of the final score that leads (``best/fid_n10000``), ``lower`` when low is good; first: final metrics
    that the leaderboard shows before it; known: all final metrics of the runs; curves: metrics of the snapshots; step:
    whose sample grids are shown first.
    """
    base = _base(lead, lower, known, first)
    charts = {"compareRunCharts": _charts(lead, curves, step), "compareRunSections": _sections()}
    means = {  # MLflow shows no images for groups of runs
        "compareRunCharts": [chart for chart in charts["compareRunCharts"] if chart["type"] != "IMAGE"],
        "compareRunSections": [section for section in charts["compareRunSections"] if section["uuid"] != "samples"],
    }
    group = {"aggregateFunction": "average", "groupByKeys": [{"groupByData": "variant", "mode": "param"}]}
    views = {
        LEADERBOARD: ("1 Leaderboard", base),
        CURVES: ("2 Curves and samples", {**base, **charts}),
        MEANS: ("3 Mean over seeds", {**base, **means, "groupBy": group}),
    }
    tags = client.get_experiment(experiment_id).tags
    for key, (name, state) in views.items():
        if _saved(tags.get(TAG + key)) == state:
            continue
        now = int(time.time() * 1000)
        value = {"name": name, "createdAt": now, "updatedAt": now, "state": pack(state)}
        client.set_experiment_tag(experiment_id, TAG + key, json.dumps(value))


def _saved(tag: str | None) -> dict[str, Any] | None:
    """The state in a tag; None without one, or if it is of another version or broken."""
    try:
        return unpack(json.loads(tag)["state"]) if tag else None
    except (ValueError, KeyError, TypeError, zlib.error):
        return None


def image_steps(client: MlflowClient, run_id: str) -> set[int]:
    """The steps at which a run has images: MLflow keeps them in the names of the files."""
    sent = {item.path for item in client.list_artifacts(run_id, "images")}
    return {int(match[1]) for path in sent if (match := re.search(r"\Wstep\W(\d+)\W", path))}


def log_image(client: MlflowClient, run_id: str, path: Path, step: int) -> None:
    """Add the picture ``path`` to the samples of a run."""
    age = path.stat().st_mtime_ns // 1_000_000
    with Image.open(path) as image:
        client.log_image(run_id, image, key=SAMPLES, step=step, timestamp=age, synchronous=True)


def pack(state: dict[str, Any]) -> str:
    """A page state as MLflow stores it."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()


def unpack(text: str) -> dict[str, Any]:
    """The inverse of `pack`."""
    return json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))))


def _base(lead: str, lower: bool, known: Collection[str], first: Sequence[str]) -> dict[str, Any]:
    """State of the table: current runs, sorted by the leading score, with the columns that explain it."""
    own = [lead, *(lead.replace("best/", f"{kind}/") for kind in ("low", "high", "floor", "above_floor", "difference"))]
    use = sorted(name for name in known if name.startswith("utility/"))
    columns = [*first, *own, *use, "best/kimg", "cost/wall_h", "cost/gpu_h", "cost/cpu_h"]
    widths = {f"metrics.`{name}`": 60 + 8 * len(name) for name in columns if name in known}
    return {
        **{"searchFilter": 'tags.superseded = "false"', "orderByKey": f"metrics.`{lead}`", "orderByAsc": lower},
        **{"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"},
        "selectedColumns": [*widths],  # variant and seed are in the name of a run
        **{"columnOrder": [*widths], "columnWidths": widths},  # px for names of this length: else they are cut
        **{"runsHiddenMode": "FIRST_20_RUNS", "viewMaximized": False, "runListHidden": False},
        **{"isAccordionReordered": True, "useGroupedValuesInCharts": True, "hideEmptyCharts": True, "groupBy": None},
        **{
            "groupsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
            "runsVisibilityMap": {},
            "autoRefreshEnabled": False,
        },
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _charts(lead: str, curves: Sequence[str], step: int) -> list[dict[str, Any]]:
    charts = [
        _line(f"curve{place}", "scores", name, log=direction(name.partition("/")[0]) < 0)
        for place, name in enumerate(curves)
    ]
    charts.append(_chart("bar", "BAR", "scores", metricKey=lead, displayName=lead))
    charts.append(_chart("images", "IMAGE", "samples", imageKeys=[SAMPLES], step=step, showRunParams=False))
    names = ("loss/G", "loss/D", "ada/p", "logits/real", "logits/fake", "ada/rt")
    return charts + [_line(name.replace("/", "_"), "training", name) for name in names]


def _sections() -> list[dict[str, Any]]:
    rows = (("scores", "Scores", 2, 360), ("samples", "Samples", 1, 800), ("training", "Training", 3, 360))
    flags = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return [
        {"uuid": key, "name": name, "columns": columns, "cardHeight": height, **flags}
        for key, name, columns, height in rows
    ]


def _chart(key: str, kind: str, section: str, **own: Any) -> dict[str, Any]:
    common = {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}
    return {"uuid": key, "type": kind, "metricSectionId": section, **common, **own}


def _line(key: str, section: str, metric: str, *, log: bool = False) -> dict[str, Any]:
    return _chart(
        key,
        "LINE",
        section,
        **{"displayName": metric, "metricKey": metric, "selectedMetricKeys": [metric], "lineSmoothness": 0},
        **{"xAxisScaleType": "linear", "scaleType": "log" if log else "linear", "range": {}, "xAxisKey": "step"},
        **{"selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False},
        **{"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True},
    )
