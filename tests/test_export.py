"""A cell as a folder to pass on: its terms decide, every file says what it is, and nothing is made up."""

import csv
import json
import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fake_study import score
from PIL import Image
from test_generate import made
from test_shareable import SEARCH
from test_terms import origin

from gan.cells import CellFiles
from gan.families.contract import ImageShape
from gan.families.registry import families, make_options
from gan.files import checksum, read_json, write_json
from gan.governance.allowed import copied
from gan.governance.command import main
from gan.governance.facts import read_facts
from gan.governance.reporting import AUTHOR, ITEMS
from gan.governance.reproducibility import SAME, statement
from gan.sampling.snapshot import Snapshot, load_generator, load_header, save_generator
from gan.sampling.tasks import sample
from gan.terms import FILE, Terms

pydicom = pytest.importorskip("pydicom")
safetensors = pytest.importorskip("safetensors")

DATA = {
    **{"dataset": "set", "source": {"sha256": "ab" * 32}, "split": {"train": 0.6, "val": 0.2, "test": 0.2, "seed": 0}},
    **{"layout": "nifti", "contrasts": ["t1"], "intensity": {"map": "percentile"}, "slices": {"size": 16}},
}
STORE = {"label_of": "subject", "labels": ["high", "low"], "intensity": {"map": "percentile"}, "size": [16, 16]}


def make_cell(root: Path, terms: Terms, copies: dict = SEARCH, variant: str = "dcgan") -> Path:
    """A finished cell of 10 patients, each with two slices, whose best snapshot is at 1.5 kimg."""
    study = root / "results/study"
    cell = study / f"set/{variant}/seed0"
    options = {"channels": 4}
    made(cell / "snapshots/kimg01.5.pt", "dcgan", options, size=16, labels=("high", "low"))
    made(cell / "generator.pt", "dcgan", options, size=16, labels=("high", "low"))
    given = {"name": variant, "family": "dcgan", "revision": 1, "options": options | {"conditional": True}}
    training = {"kimg": 2, "batch": 4, "snapshot_kimg": 0.5, "precision": "fp32"}
    write_json(cell / "recipe.json", {"data": DATA, "variant": given, "training": training, "seed": 0})
    rows = [score("kd_indomain", 0.02), score("recall_indomain", 0.3)]
    snapshot = {"kimg": 1.5, "chosen": "best", "metric": "kd_indomain"}
    write_json(cell / "scores.json", {"run_key": "k", "snapshot": snapshot, "scores": rows})
    write_json(cell / "copies.json", copies)
    write_json(
        cell / "cost.json", {"wall_s": 10.0, "cpu_s": 9.0, "gpu_s": 0.0, "device": "cpu", "threads": 1, "gpus": 0}
    )
    (cell / "stats.jsonl").write_text("")
    store = study / "data/set/store"
    write_json(store / "store.json", STORE)
    subjects = [f"patient{place}" for place in range(10) for _ in range(2)]
    index = pd.DataFrame({"subject": subjects, "kept": True})
    index["split"] = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    index["label"] = ["high", "high", "low", "low"] * 5
    index.to_parquet(store / "index.parquet")
    write_json(study / FILE, {"set": {variant: terms.record()}})
    return cell


OPEN = Terms((origin("set", citation="A. (2020)", attribution="the authors", url="https://example.org/set"),))


def export(cell: Path, out: Path, *more: str) -> int:
    return main(["--cell", str(cell), "--out", str(out), *more])


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Path:
    return make_cell(tmp_path_factory.mktemp("study"), OPEN)


@pytest.fixture(scope="module")
def exported(cell, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "folder"
    assert export(cell, out, "--n", "6") == 0
    return out


# ---------------------------------------------------------------- what may be passed on


@pytest.mark.parametrize(
    "terms, more, words",
    [
        (Terms(), [], "the terms of the data are not declared"),
        (Terms((origin("set", "no"),)), [], "do not allow to pass on weights; leave them out with --no-weights"),
        (Terms((origin("set", "no"),)), ["--no-weights"], "pass on generated images; leave them out with --n 0"),
    ],
)
def test_terms_refuse_in_one_line_and_write_nothing(tmp_path, capsys, terms, more, words):
    cell = make_cell(tmp_path, terms)
    assert export(cell, tmp_path / "out/folder", *more) == 1
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said
    assert not (tmp_path / "out").exists()


def test_what_has_to_be_asked_for_and_copies_are_warned_of(tmp_path, capsys):
    cell = make_cell(tmp_path, Terms((origin("set", "ask"),)), SEARCH | {"copies": 0.01, "low": 0.001, "high": 0.031})
    assert export(cell, tmp_path / "folder", "--n", "1") == 0
    said = capsys.readouterr().err
    assert "warning: ask those who gave the data before you pass on weights or generated images" in said
    assert "warning: copies of patients: 1 % of the images, upper bound 3.1 %, above 2%" in said
    for name in ("README.md", "datasheet.md"):
        assert "> **ask those who gave the data" in (tmp_path / "folder" / name).read_text()


@pytest.mark.parametrize(
    "copies, warned",
    [
        (SEARCH, False),
        (SEARCH | {"high": 0.02}, False),
        (SEARCH | {"high": None}, True),
        ({}, True),
        ({"left_out": "few"}, True),
    ],
)
def test_a_search_that_cannot_rule_copies_out_is_a_warning(copies, warned):
    assert bool(copied(copies)) == warned


@pytest.mark.parametrize("package", ["safetensors", "pydicom"])
def test_a_missing_package_is_one_line(cell, tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    more = ["--format", "dicom", *(["--no-weights"] if package == "pydicom" else [])]
    assert export(cell, tmp_path / "folder", "--n", "1", *more) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(f"the package {package} is missing; install the extra: pip install 'gan-study[export]'")
    )
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "more, words",
    [
        (["--n", "0", "--no-weights"], "nothing is left to export"),
        (["--n", "-1"], "allowed: both from 0"),
    ],
)
def test_bad_calls_are_one_line(cell, tmp_path, capsys, more, words):
    assert export(cell, tmp_path / "folder", *more) == 1
    assert words in capsys.readouterr().err
    assert export(cell.parent, tmp_path / "folder") == 1
    assert "no folder of a cell" in capsys.readouterr().err
    (tmp_path / "there").mkdir()
    assert export(cell, tmp_path / "there") == 1
    assert "is there already" in capsys.readouterr().err


# ---------------------------------------------------------------- weights and images


def test_weights_give_the_same_images_and_say_what_they_are(cell, exported, tmp_path):
    """Of the snapshot that was scored, and equal exports give equal bytes."""
    original = load_generator(cell / "snapshots/kimg01.5.pt")
    weights = exported / "model.safetensors"
    copy = load_generator(weights)
    assert torch.equal(sample(copy, 5, seed=3), sample(original, 5, seed=3))
    assert (copy.kimg, copy.terms, copy.terms_of) == (1.5, OPEN, "generator")
    assert load_header(weights)["run_key"] == "abc"
    with safetensors.safe_open(weights, framework="np") as file:
        texts = file.metadata()
    assert all(isinstance(text, str) for text in texts.values())
    assert texts["card_sha256"] == checksum(exported / "README.md") and texts["licence"] == "CC-BY-4.0"
    assert export(cell, tmp_path / "again", "--n", "6") == 0
    assert (tmp_path / "again/model.safetensors").read_bytes() == weights.read_bytes()


def test_a_damaged_file_of_weights_is_one_line(exported, tmp_path):
    data = (exported / "model.safetensors").read_bytes()
    for name, content in (("cut", data[: len(data) // 2]), ("none", b"nothing"), ("other", b"\2\0\0\0\0\0\0\0{}")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(Exception, match="no generator of this program, or a damaged one"):
            load_generator(path)


def test_every_image_is_listed_with_its_checksum(exported):
    rows = list(csv.DictReader((exported / "images.csv").open()))
    assert [row["index"] for row in rows] == list("012345") and {row["label"] for row in rows} <= {"high", "low"}
    for row in rows:
        assert row["sha256"] == checksum(exported / row["file"])
        assert Image.open(exported / row["file"]).text["Synthetic"] == "yes"


@pytest.fixture(scope="module")
def dicom(cell, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dicom") / "folder"
    assert export(cell, out, "--n", "2", "--format", "dicom", "--no-weights") == 0
    return out


def test_dicom_says_in_many_places_that_it_is_synthetic(dicom, cell):
    found = [pydicom.dcmread(path) for path in sorted((dicom / "images").glob("*.dcm"))]
    first = found[0]
    assert first[0x0008001C].value == first.SyntheticData == "YES"
    assert str(first.PatientName) == "SYNTHETIC^00000" and first.PatientID.startswith("SYNTHETIC-")
    assert first.SeriesDescription == "SYNTHETIC t1" and list(first.ImageType) == ["DERIVED", "SECONDARY"]
    assert first.DerivationDescription.startswith("synthetic, run abc") and first.ConversionType == "SYN"
    assert first.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage == first.file_meta.MediaStorageSOPClassUID
    purpose = first.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
    assert "CC-BY-4.0" in first.ImageComments
    assert first.BurnedInAnnotation == "NO" and "SourceImageSequence" not in first
    dates = [one for one in first.iterall() if one.VR in ("DA", "TM", "DT") and one.value]
    assert not dates, "nothing was acquired"
    uids = [one[name].value for one in found for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")]
    assert len(set(uids)) == len(uids) and all(re.fullmatch(r"2\.25\.\d{1,39}", uid) for uid in uids)
    images = sample(load_generator(cell / "snapshots/kimg01.5.pt"), 2, seed=0).numpy()
    for one, image in zip(found, images, strict=True):
        grey = np.round((image[0].clip(-1, 1) + 1) * 127.5)
        assert np.abs(one.pixel_array.astype(int) - grey).max() <= 1
    assert list(first.PixelSpacing) == [2.0, 1.5]


def test_equal_calls_give_equal_dicom(dicom, cell, tmp_path):
    assert export(cell, tmp_path / "folder", "--n", "2", "--format", "dicom", "--no-weights") == 0
    for path in (dicom / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "folder/images" / path.name).read_bytes()


def test_nifti_is_exported(cell, tmp_path):
    assert export(cell, tmp_path / "folder", "--n", "1", "--format", "nifti", "--no-weights") == 0
    (path,) = (tmp_path / "folder/images").glob("*.nii.gz")
    assert nib.load(path).header["descrip"].tobytes().startswith(b"synthetic, run abc")
    assert not (tmp_path / "folder/model.safetensors").exists()


# ---------------------------------------------------------------- documents


def header_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_card_has_the_header_of_hugging_face_and_the_numbers_of_the_study(exported):
    header, text = header_of(exported), (exported / "README.md").read_text()
    assert header["license"] == "cc-by-4.0" and header["library_name"] == "gan-study"
    metrics = header["model-index"][0]["results"][0]["metrics"]
    assert [(one["type"], one["value"]) for one in metrics] == [("kd_indomain", 0.02), ("recall_indomain", 0.3)]
    assert "| train | 6 | 12 | high 3, low 3 |" in text and "| test | 2 | 4 | high 1, low 1 |" in text
    for section in ("Details", "Intended use", "Out-of-scope use", "Training data", "Evaluation", "Ethics"):
        assert f"\n## {section}\n" in text
    assert "0.0200 | 0.0170 to 0.0230" in text and "No diagnosis" in text
    assert "Approval and consent: not declared." in text
    assert "{{" not in text and "None" not in text and "patient0" not in text


def test_cards_differ_only_where_runs_do(exported, tmp_path):
    other = make_cell(tmp_path, OPEN, variant="other")
    assert export(other, tmp_path / "folder", "--n", "6") == 0
    texts = [(folder / "README.md").read_text().splitlines() for folder in (exported, tmp_path / "folder")]
    assert len(texts[0]) == len(texts[1])
    for first, second in zip(*texts, strict=True):
        keys = r"`[0-9a-f]{12}`"
        assert re.sub(keys, "", first).replace("dcgan on", "other on").replace("set-dcgan", "set-other") == re.sub(
            keys, "", second
        )


def test_unknown_licences_have_a_name(tmp_path):
    words = Terms((origin("set", licence="our agreement"), origin("b", licence="CC-BY-4.0", url="https://example.org")))
    cell = make_cell(tmp_path, words)
    assert export(cell, tmp_path / "folder", "--n", "0") == 0
    header = header_of(tmp_path / "folder")
    assert header["license"] == "other" and header["license_name"] == "our agreement and CC-BY-4.0"
    assert not (tmp_path / "folder/croissant.json").exists(), "there are no images to describe"


def test_checklist_ticks_nothing_and_gives_a_file_or_the_author(exported):
    text = (exported / "reporting.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ ", line)]
    assert len(rows) == len(ITEMS) == 44
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 45))
    for row in rows:
        evidence = row.split("|")[4].strip()
        assert (
            evidence == AUTHOR or AUTHOR in evidence or re.search(r"\w+\.(json|md|csv|jsonl)|none|leave", evidence)
        ), row
    assert not re.search(r"\[[xX ]\]|✓|☑|\byes\b", "\n".join(rows).replace(": yes", ""))
    assert 10 < sum(row.endswith(f"| {AUTHOR} |") for row in rows) < 30


def test_croissant_lists_every_file(exported):
    found = read_json(exported / "croissant.json")
    assert found["@type"] == "sc:Dataset" and found["license"] == ["https://example.org/set"]
    assert found["citeAs"] == "A. (2020)" and found["rai:dataLimitations"]
    assert len(found["distribution"]) == 7
    for one in found["distribution"]:
        assert one["sha256"] == checksum(exported / one["contentUrl"])


def test_croissant_leads_to_the_lines_of_its_list(exported):
    """Every record has its columns in a file that is described. The reference program, mlcroissant, needs stubs of
    pandas with which pyright reads the sources otherwise, so it is no part of the extra dev."""
    (records,) = read_json(exported / "croissant.json")["recordSet"]
    rows = list(csv.DictReader((exported / "images.csv").open()))
    for field in records["field"]:
        assert field["source"]["fileObject"]["@id"] == "images.csv"
        assert all(row[field["source"]["extract"]["column"]] is not None for row in rows)
    assert [int(row["index"]) for row in rows] == list(range(6))


def test_statement_says_unknown_and_never_leaves_out(cell, exported, tmp_path):
    facts = read_facts(CellFiles("set", "dcgan", 0, cell))
    whole = statement(facts)
    assert (
        whole["data"]["patients"] == {"train": 6, "val": 2, "test": 2} and len(whole["data"]["subjects_sha256"]) == 64
    )
    assert "patient0" not in json.dumps(whole)
    assert whole["code"]["training"] == "unknown"
    cost = read_json(cell / "cost.json")
    write_json(cell / "cost.json", cost | {"code": [{"sources": "abc", "torch": "2.11.0"}]})
    noted = statement(read_facts(CellFiles("set", "dcgan", 0, cell)))
    write_json(cell / "cost.json", cost)
    assert noted["code"]["training"][0]["torch"] == "2.11.0" and noted["digest"] == whole["digest"]
    assert whole["digest"] == statement(read_facts(CellFiles("set", "dcgan", 0, cell)))["digest"]
    for name in ("cost.json", "scores.json"):
        poor = make_cell(tmp_path / name, OPEN)
        (poor / name).unlink()
        out = tmp_path / name / "folder"
        assert export(poor, out, "--n", "0") == 0
        found, text = read_json(out / "reproducibility.json"), (out / "reproducibility.md").read_text()
        assert found.keys() == whole.keys()
        assert (found["hardware"]["device"] if name == "cost.json" else found["choice"]["rule"]) == "unknown"
        assert text.count("unknown") > (exported / "reproducibility.md").read_text().count("unknown")
        assert (found["digest"] == whole["digest"]) == (name == "cost.json"), SAME


def test_a_generator_that_translates_is_exported_without_images(tmp_path, capsys):
    cell, out = make_cell(tmp_path, OPEN), tmp_path / "folder"
    family, options, task = "pix2pix", {"channels": 2, "depth": 2}, {"source": ["t1"], "target": ["t2"]}
    shape = ImageShape(1, (20, 16), sources=1)
    network = families()[family].model.build_kept(make_options(family, options), shape).eval()
    facts = {"channels": ["t2"], "mask": None, "labels": [], "label_counts": [], "translate": task}
    save_generator(cell / "snapshots/kimg01.5.pt", Snapshot(network, family, options, shape, 1, 1.5, "abc", facts))
    recipe = read_json(cell / "recipe.json")
    recipe["data"]["translate"] = task
    recipe["variant"] |= {"family": family, "options": options}
    write_json(cell / "recipe.json", recipe)
    assert export(cell, out, "--n", "2") == 1
    assert "a translation is made of a patient's scan; leave --n out" in capsys.readouterr().err
    assert export(cell, out) == 0
    assert (out / "model.safetensors").exists() and not (out / "images").exists()
    assert header_of(out)["pipeline_tag"] == "image-to-image"
    assert load_generator(out / "model.safetensors").task == task
