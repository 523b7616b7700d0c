"""Score one cell: its snapshots on the validation split, the chosen one on the test split (docs/protocol.md)."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan import check
from gan.errors import command
from gan.runtime import DEVICES, OPS
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.degradations import degradations, with_extractors
from gan.scoring.extractors import registry
from gan.scoring.extractors.network.model import golden_numbers
from gan.scoring.floors import lookup_floors
from gan.scoring.judge import Judge, Protocol
from gan.scoring.reference import image_facts, prepare_extractor, real_features
from gan.train.device import pick_device


def _extractor(text: str) -> tuple[str, dict[str, Any]]:
    """``kind`` or ``kind={settings as JSON}``."""
    kind, _, spec = text.partition("=")
    return kind, json.loads(spec or "{}")


@command
def main(argv: Sequence[str] | None = None) -> None:
    """``gan evaluate extractor|golden|features|images|curve|scores|degradations ...``: the workflow's steps by hand."""
    parser = argparse.ArgumentParser(prog="gan evaluate", description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto takes a GPU if there is one")
    parser.add_argument("--ops", default="auto", choices=OPS, help=check.HELP)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("extractor", help="make the file of an extractor")
    step.add_argument("kind", choices=registry.names())
    step.add_argument("--spec", type=json.loads, default={}, help='settings as JSON, such as {"steps": 300}')
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--out", type=Path, required=True, help="extractor.pt to write")
    step = steps.add_parser("golden", help="print the golden numbers of a declared network (docs/features.md)")
    step.add_argument("--spec", type=json.loads, required=True, help='{"name": "swav", "architecture": ...} as JSON')
    step = steps.add_parser("features", help="features of the real images")
    step.add_argument("--extractor", type=Path, required=True, help="extractor.pt")
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--out", type=Path, required=True, help="real.npz to write")
    step = steps.add_parser("images", help="what the pixels of the real images say")
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--task", type=json.loads, help='translate of the row as JSON: {"source": ["t1"], ...}')
    step.add_argument("--out", type=Path, required=True, help="images.npz to write")
    for name, doc in (("curve", "score all snapshots"), ("scores", "score the chosen snapshot")):
        step = steps.add_parser(name, help=doc)
        step.add_argument("cell", type=Path, help="folder of the cell, .../<dataset>/<variant>/seed<k>")
        step.add_argument("--extractor", type=Path, nargs="+", required=True, help="extractor.pt of each")
        step.add_argument("--real", type=Path, nargs="+", required=True, help="real.npz of each, in the same order")
        step.add_argument("--images", type=Path, required=True, help="images.npz of the data set")
        step.add_argument("--store", type=Path, help="folder of the packed store, for translations")
        if name == "scores":
            step.add_argument("--looks", type=Path, help="ledger of what was scored on test; default: results/looks")
        step.add_argument("--protocol", type=json.loads, default={}, help='settings as JSON, such as {"n_fake": 500}')
    step = steps.add_parser("degradations", help="score degraded real images: what does each metric see?")
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--judge", type=Path, required=True, help="judge.json of the data set")
    step.add_argument(
        "--also",
        nargs="+",
        type=_extractor,
        default=[],
        help="extractors that the judge lacks, made for this table alone: random, radiomics, inception (its file is "
        "needed: GAN_INCEPTION), or with settings as JSON, such as 'indomain={\"steps\": 300}'",
    )
    step.add_argument("--bootstrap", type=int, default=0, help="resamples for intervals in the table (%(default)s)")
    step.add_argument("--seed", type=int, default=0, help="of noise, repeats and resamples (%(default)s)")
    step.add_argument("--out", type=Path, required=True, help="table to write, .md or .csv")
    given = parser.parse_args(argv)
    if given.step == "extractor":
        prepare_extractor(given.kind, given.spec, given.store, given.out, given.device)
    elif given.step == "golden":
        print(f"golden: {golden_numbers(given.spec, pick_device(given.device))}")
    elif given.step == "features":
        real_features(given.extractor, given.store, given.out, given.device)
    elif given.step == "images":
        image_facts(given.store, given.out, lookup_floors(given.store, given.task))
    elif given.step == "degradations":
        judge = with_extractors(given.judge, given.also, given.store, given.device)
        degradations(given.store, judge, given.out, bootstrap=given.bootstrap, seed=given.seed)
    else:
        check.say(check.choose(given.ops, pick_device(given.device)))
        judge = Judge(given.extractor, given.real, given.images, given.device, given.store)
        protocol = Protocol.of(given.protocol)
        if given.step == "curve":
            score_snapshots(given.cell, judge, protocol)
        else:
            looks = given.looks or given.cell.resolve().parents[3] / "looks"
            score_cell(given.cell, judge, protocol, looks=looks)
