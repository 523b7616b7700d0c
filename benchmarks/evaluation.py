"""Evaluation against plain clean-fid: the Fréchet distance and the extraction of grey images, as ratios in one run.

    python benchmarks/evaluation.py [--images 64] [--side 64] [--json FILE]

Fréchet: ``cleanfid.fid.frechet_distance`` (scipy's sqrtm) on 3000 images of 2048 features; and on 1000. Extraction: the
path of clean-fid (its resizer on three channels, its wrapper of the TorchScript network, batches of 32) and ours, on
the same images and the same Inception-v3 graph. The time of a convolution does not depend on its weights, so random
ones serve. Times are CPU seconds, which other jobs on the machine disturb little; the two are timed in turn, the best
of the repeats counts, and their values are compared too.
Aims: Fréchet at least 10 times, extraction at least 1.5 times as fast.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanfid.fid import frechet_distance as cleanfid_frechet
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import nn

from gan.files import checksum
from gan.metrics.distances import frechet_distance
from gan.scoring.extractors.inception import model as inception
from gan.scoring.extractors.random.model import random_layers

warnings.filterwarnings("ignore", category=DeprecationWarning)


class WeightsFile(nn.Module):
    """The interface of clean-fid's weights file around a network."""

    def __init__(self, layers: torch.jit.ScriptModule):
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return self.layers((x - 128) / 128)


def best(functions: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """CPU seconds (best of ``repeats``, taken in turn) and the last result of each function."""
    seconds: dict[str, float] = {}
    results = {}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            results[name] = function()
            seconds[name] = min(seconds.get(name, np.inf), time.process_time() - start)
    return seconds, results


def bench_frechet(images: int, dim: int, repeats: int) -> dict[str, float]:
    """Seconds of both for two sets of ``images``; the features are correlated and of decaying size."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim) * np.linspace(1, 0.1, dim)
    x, y = (rng.normal(size=(images, dim)) @ mixing + shift for shift in (0.0, 0.05))

    def theirs() -> float:
        s1, s2 = (np.cov(features, rowvar=False) for features in (x, y))
        return float(cleanfid_frechet(x.mean(0), s1, y.mean(0), s2))

    seconds, values = best({"clean-fid": theirs, "ours": lambda: frechet_distance(x, y)}, repeats)
    return {
        **{"images": images, "features": dim, "cleanfid_s": seconds["clean-fid"], "ours_s": seconds["ours"]},
        "ratio": seconds["clean-fid"] / seconds["ours"],
        "relative_difference": abs(values["ours"] / values["clean-fid"] - 1),
    }


def bench_extraction(images: int, side: int, repeats: int) -> dict[str, float]:
    """Milliseconds per grey image of both, from uint8 arrays to features."""
    grey = np.random.default_rng(0).integers(0, 256, (images, side, side), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inception-2015-12-05.pt"
        torch.jit.script(WeightsFile(random_layers(0)).eval()).save(str(path))
        network = InceptionV3W(folder, download=False).eval()
        extractor = inception.InceptionFeatures("benchmark", "inception", inception.read_weights(path, checksum(path)))
    resizer = build_resizer("clean")

    def theirs() -> np.ndarray:
        features = []
        for start in range(0, images, 32):
            rgb = [resizer(np.repeat(image[:, :, None], 3, 2)) for image in grey[start : start + 32]]
            batch = torch.from_numpy(np.stack(rgb).transpose(0, 3, 1, 2).copy())
            with torch.no_grad():
                features.append(network(batch).numpy())
        return np.concatenate(features)

    for warm_up in (theirs, lambda: extractor(grey)):
        warm_up()
    seconds, values = best({"clean-fid": theirs, "ours": lambda: extractor(grey)}, repeats)
    error = np.abs(values["ours"] - values["clean-fid"]).max() / np.abs(values["clean-fid"]).max()
    milliseconds = {name: value / images * 1000 for name, value in seconds.items()}
    return {
        **{"images": images, "side": side, "cleanfid_ms": milliseconds["clean-fid"], "ours_ms": milliseconds["ours"]},
        **{"ratio": seconds["clean-fid"] / seconds["ours"], "relative_difference": float(error)},
    }


def main() -> None:
    """Print both tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=64, help="images to extract")
    parser.add_argument("--side", type=int, default=64, help="their side in pixels")
    parser.add_argument("--frechet", type=int, nargs="*", default=[1000, 3000], help="images of the Fréchet distances")
    parser.add_argument("--repeats", type=int, default=3, help="of the extraction")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    result = {
        "threads": given.threads,
        "extraction": [bench_extraction(given.images, given.side, given.repeats)],
        "frechet": [bench_frechet(number, 2048, 2) for number in given.frechet],
    }
    for kind in ("extraction", "frechet"):
        for row in result[kind]:
            print(f"{kind:>10}  " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
