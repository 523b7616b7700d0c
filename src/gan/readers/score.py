"""From the key and the answers to everything that is said of a reading, as one object that JSON can hold."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.files import checksum
from gan.metrics.intervals import Estimate, centred_interval, wilson
from gan.readers import agreement, power
from gan.readers.answers import Answers, Cases, read, read_key, recorded
from gan.readers.measures import RANGES, REALISM, Draws, counts, measures
from gan.readers.questions import CUES, LEVELS, REAL

ALL = "all"  # the reader of a row that is the mean over all; the first of each measure

Weights = NDArray[np.float64]


def score(key_path: Path, paths: Sequence[Path], resamples: int, seed: int) -> dict[str, Any]:
    """What the answers in ``paths`` say, by the key; `GanError` if they do not fit it."""
    key, cases = read_key(key_path)
    when = recorded(key_path)
    answers = read(paths, key, cases)
    names = list(key["variants"])
    fakes = {name: len(cases.of(name)) for name in names}
    draws = Draws(len(answers.readers), cases.patient[cases.real], fakes, resamples, seed)
    patients = len(np.unique(cases.patient[cases.real]))
    rows = {name: _rows(name, answers, cases, draws) for name in names}
    leading = {name: next(row for row in rows[name] if row["measure"] == "accuracy") for name in names}
    verdicts = {name: _verdict(leading[name], name, answers, cases, draws) for name in names}
    return {
        "dataset": key["dataset"],
        "readers": answers.readers,
        "recorded": when and when.isoformat(),
        "began": answers.began and answers.began.isoformat(timespec="seconds"),
        "recorded_before": bool(when and answers.began and when <= answers.began),
        "sha256": {"key": checksum(key_path), **{path.name: checksum(path) for path in paths}},
        "images": {"real": len(cases.real), "patients": patients, "repeats": key["repeats"], **fakes},
        "shown": {name: key[name] for name in ("share_stated", "feedback", "warm_up", "enlarge", "smooth", "size")},
        "variants": {name: key["variants"][name] | verdicts[name] for name in names},
        "rows": [row for name in names for row in rows[name]],
        "agreement": _agreement(answers, cases, draws),
        "cues": _cues(answers, cases, names),
        "reading": _reading(answers, cases),
        "can_show": _can_show(2 * key["images"]),
        "resamples": resamples,
        "seed": seed,
    }


def _measured(variant: str, answers: Answers, cases: Cases, fake: Weights, real: Weights) -> dict[str, Weights]:
    """All measures of a variant [B, R] with weights [B, n] of its images and of real ones."""
    places = cases.of(variant)
    found = measures(counts(answers.level[:, places], fake), counts(answers.level[:, cases.real], real))
    by_kind = [
        weights @ answers.realism[:, where].T / weights.sum(1, keepdims=True)
        for weights, where in ((fake, places), (real, cases.real))
    ]
    return found | {REALISM: by_kind[0] - by_kind[1]}


def _values(variant: str, answers: Answers, cases: Cases) -> dict[str, Weights]:
    """The measures of a variant by reader, [R]."""
    once = np.ones((1, len(cases.of(variant)))), np.ones((1, len(cases.real)))
    return {name: values[0] for name, values in _measured(variant, answers, cases, *once).items()}


def _replicates(variant: str, answers: Answers, cases: Cases, draws: Draws) -> dict[str, Weights]:
    return _measured(variant, answers, cases, draws.fake[variant], draws.real)


def _rows(variant: str, answers: Answers, cases: Cases, draws: Draws) -> list[dict[str, Any]]:
    """A row for each measure and reader, and for their mean."""
    values, drawn = _values(variant, answers, cases), _replicates(variant, answers, cases, draws)
    units = {"sensitivity": len(cases.of(variant)), "specificity": len(np.unique(cases.patient[cases.real]))}
    units["accuracy"] = sum(units.values())
    rows = []
    for measure, by_reader in values.items():
        mean, whole = float(by_reader.mean()), draws.mean(drawn[measure])
        rows.append(_row(variant, ALL, measure, mean, _interval(measure, mean, whole, units.get(measure))))
        for place, reader in enumerate(answers.readers):
            value, mine = float(by_reader[place]), drawn[measure][:, place]
            ends = wilson(value, units[measure]) if measure in units else _interval(measure, value, mine)
            rows.append(_row(variant, reader, measure, value, ends))
    return rows


def _interval(measure: str, value: float, replicates: Weights, units: int | None = None) -> tuple[float, float]:
    """units: of a share; where less than one of them is on one side, Wilson's interval is united with it."""
    low, high = Estimate(value, replicates, units).interval(*RANGES.get(measure, (0.0, 1.0)))
    assert low is not None and high is not None
    return low, high


def _row(variant: str, reader: str, measure: str, value: float, ends: tuple[float, float]) -> dict[str, Any]:
    return {"variant": variant, "reader": reader, "measure": measure, "value": value, "low": ends[0], "high": ends[1]}


def _verdict(accuracy: dict[str, Any], variant: str, answers: Answers, cases: Cases, draws: Draws) -> dict[str, Any]:
    """Whether readers distinguish the variant from real images: a word, and what decides it; accuracy: its row."""
    replicates = draws.mean(_replicates(variant, answers, cases, draws)["accuracy"])
    value, low, high = (accuracy[key] for key in ("value", "low", "high"))
    bound = centred_interval(value, replicates, 0.0, 1.0, level=0.90)[1]  # one-sided 95 %
    return {"accuracy": value, "low": low, "high": high, "bound": bound, "word": word(low, high, bound)}


def word(low: float, high: float, bound: float) -> str:
    """What accuracy ``low`` to ``high`` and its upper one-sided 95 % bound say."""
    if high < 0.5:
        return "taken for real"
    if bound < power.MARGIN:
        return "distinguished by little" if low > 0.5 else "indistinguishable"
    return "distinguished" if low > 0.5 else "cannot say"


def _agreement(answers: Answers, cases: Cases, draws: Draws) -> dict[str, Any]:
    """Between readers, with an interval over cases, and of each reader with oneself."""
    once = np.ones(len(cases.variant))
    drawn = np.zeros((len(draws.real), len(once)))
    drawn[:, cases.real] = draws.real
    for name, weights in draws.fake.items():
        drawn[:, cases.of(name)] = weights
    called = answers.called.astype(np.int64)
    found: dict[str, Any] = {"fleiss_kappa": None, "krippendorff_alpha": None, "pairs": []}
    if len(answers.readers) > 1:
        found["fleiss_kappa"] = _ends(*(agreement.fleiss(called, 2, weights) for weights in (once, drawn)))
        by_level = (agreement.krippendorff(answers.level, LEVELS, weights) for weights in (once, drawn))
        found["krippendorff_alpha"] = _ends(*by_level)
    for one, first in enumerate(answers.readers):
        for other in range(one + 1, len(answers.readers)):
            kappa = agreement.cohen(called[one], called[other], 2)
            found["pairs"].append({"readers": [first, answers.readers[other]], "kappa": _known(kappa)})
    found["again"] = []
    for reader, levels in zip(answers.readers, answers.again, strict=True):
        first, second = (levels >= LEVELS // 2).astype(np.int64)
        kappa, same = agreement.cohen(first, second, 2), float(np.mean(first == second)) if len(first) else None
        found["again"].append({"reader": reader, "kappa": _known(kappa), "same": same, "images": len(first)})
    return found


def _ends(value: Weights, replicates: Weights) -> dict[str, float | None]:
    """Value and interval; None where they are not defined."""
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(float(value)):
        return {"value": None, "low": None, "high": None}
    low, high = centred_interval(float(value), known, -1.0, 1.0)
    return {"value": float(value), "low": low, "high": high}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cues(answers: Answers, cases: Cases, variants: Sequence[str]) -> dict[str, dict[str, float]]:
    """By cue the share of answers that tick it, for real images and each variant."""
    shares = {name: answers.cues[:, cases.of(name)].mean((0, 1)) for name in (REAL, *variants)}
    return {cue: {name: float(share[place]) for name, share in shares.items()} for place, cue in enumerate(CUES)}


def _reading(answers: Answers, cases: Cases) -> list[dict[str, Any]]:
    """How each reader read: seconds for an image, and the share of right answers in both halves of the reading."""
    right = answers.called == (cases.variant != REAL)
    found = []
    for place, reader in enumerate(answers.readers):
        late = answers.place[place] >= np.median(answers.place[place])
        halves = {"first_half": float(right[place, ~late].mean()), "second_half": float(right[place, late].mean())}
        found.append({"reader": reader, "seconds": float(np.median(answers.seconds[place])), **halves})
    return found


def _can_show(images: int) -> dict[str, Any]:
    """What one reader's number of images, real ones and those of a variant, can show."""
    detected = {f"{accuracy:.2f}": power.detects(images, accuracy) for accuracy in power.DETECTED}
    return {"images": images, "equivalence": power.shows(images), "detects": detected}
