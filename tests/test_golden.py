"""Losses of 20 steps of each family against recorded ones: results do not change without a new REVISION.

``python tests/test_golden.py`` records them anew, after the revision has been raised: of the family
(gan/variants/options.py) or, if all have changed, TRAIN_REVISION (gan/study.py).
"""

import json
from pathlib import Path

import pytest
import torch
from test_precision import _trainer

from gan.study import TRAIN_REVISION
from gan.variants.options import FAMILIES

FOLDER = Path(__file__).parent / "golden"
CASES = {
    "stylegan2": "stylegan2_ada",
    "dcgan": "dcgan_labels",
    "progan": "progan",
}  # by family: options with as much in them as can be
STEPS = 20
# Other instruction sets (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) and four threads changed these by less than 1e-5 on
# an AMD EPYC; a CPU that rounds a value to the other side of a kink may change them more.
TOLERANCE = 1e-3


def losses(family: str) -> dict[str, list[float]]:
    """The losses of each phase, in the order of its steps, in fp32."""
    trainer, rows = _trainer(CASES[family], "fp32"), {}
    for _ in range(STEPS):
        trainer.advance(measure=False)
        for name, value in trainer.meter.read().items():
            if name.startswith("phase/"):
                rows.setdefault(name.removeprefix("phase/"), []).append(value)
    return rows


def test_every_family_has_its_golden_losses():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES) == set(FAMILIES) - {"tiny"}


@pytest.mark.parametrize("family", CASES)
def test_losses_are_those_of_the_revision(family):
    golden = json.loads((FOLDER / f"{family}.json").read_text())
    revisions = {"revision": FAMILIES[family].REVISION, "train": TRAIN_REVISION}
    assert {name: golden[name] for name in revisions} == revisions, "the revision was raised: record the losses anew"
    found = losses(family)
    assert found.keys() == golden["losses"].keys()
    for phase, values in golden["losses"].items():
        assert found[phase] == pytest.approx(values, rel=TOLERANCE), f"phase {phase}"


def main() -> None:
    torch.set_num_threads(1)
    for family in CASES:
        rounded = {phase: [float(f"{value:.6g}") for value in values] for phase, values in losses(family).items()}
        content = {"revision": FAMILIES[family].REVISION, "train": TRAIN_REVISION, "torch": torch.__version__}
        text = json.dumps(content | {"losses": rounded}, indent=1)
        (FOLDER / f"{family}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
