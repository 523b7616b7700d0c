"""Losses of a few steps of each case against recorded ones: results do not change without a new REVISION."""

import copy

import golden
import pytest
from golden import CASES

from gan.families.registry import Family, families, options_of, trained
from gan.study import TRAIN_REVISION


def test_every_family_has_its_golden_losses():
    assert {family for family, _ in CASES.values()} == set(trained())
    assert all(name.startswith(family) for name, (family, _) in CASES.items())


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_the_revision(case):
    family, options = CASES[case]
    recorded = golden.read(family)
    revisions = {"revision": options_of(family).REVISION, "train": TRAIN_REVISION}
    assert {name: recorded[name] for name in revisions} == revisions, "the revision was raised: python tests/golden.py"
    found = golden.losses(family, options, recorded["cases"][case]["steps"])
    assert not golden.differing(recorded["cases"][case], found)


@pytest.mark.parametrize("case", CASES)
def test_a_loss_that_changes_by_a_fiftieth_is_found(case):
    """In every phase but those whose tolerance is wider for a reason (``tolerance_of``)."""
    family, _ = CASES[case]
    recorded = golden.read(family)["cases"][case]
    for phase in recorded["losses"].keys() - recorded.get("tolerance_of", {}).keys():
        changed = copy.deepcopy(recorded["losses"])
        changed[phase] = [1.02 * value for value in changed[phase]]
        assert f"phase {phase}" in (golden.differing(recorded, changed) or "")


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A record of one case in a folder of its own."""
    monkeypatch.setattr(Family, "golden", tmp_path / "golden.json")
    case = {"options": {"z_dim": 8, "channels": 4}, "steps": 1, "tolerance": 0.001}
    families()["dcgan"].golden.write_text(
        golden.text({"revision": 1, "train": 1, "options": {}, "cases": {"dcgan": case}})
    )


def test_recording_explains_when_the_revision_has_to_be_raised(records, monkeypatch):
    assert golden.record("dcgan", same_revision=False) is None
    first = golden.read("dcgan")
    changed = copy.deepcopy(first)
    changed["cases"]["dcgan"]["losses"]["D"][0] *= 1.02
    families()["dcgan"].golden.write_text(golden.text(changed))
    assert "phase D, its step 0" in (why := golden.record("dcgan", same_revision=False) or "")
    assert "raise REVISION" in why and golden.read("dcgan") == changed
    assert golden.record("dcgan", same_revision=True) is None
    assert golden.read("dcgan") == first
    families()["dcgan"].golden.write_text(golden.text(changed))
    monkeypatch.setattr(options_of("dcgan"), "REVISION", 2)
    assert golden.record("dcgan", same_revision=False) is None
    assert golden.read("dcgan") == first | {"revision": 2}
