"""A page that is passed on has no pixel of a patient."""

import base64
import io
import re

import numpy as np
import pytest
from fake_study import make_study, write
from PIL import Image
from test_terms import origin

from gan.files import write_json
from gan.report.command import main
from gan.report.shareable import REAL, left_out
from gan.report.trust import Trust
from gan.terms import FILE, Terms

SEARCH = {"copies": 0.0, "low": 0.0, "high": 0.01, "alpha": 0.01, "n_fake": 600, "patients": 20, "patients_near": 0}
SEARCH |= {"control": {"either": [0.01, 0.0, 0.02]}, "power": {"either": {"copy": 1.0}}}


def study_of(folder, variants=("dcgan",), word="yes"):
    cells = make_study(folder, variants=dict.fromkeys(variants, 0.02), seeds=1)
    terms = Terms((origin("phantom", word),)).record()
    write_json(folder / FILE, {"phantom": dict.fromkeys(variants, terms)})
    for cell in cells:
        write(cell, "copies.json", SEARCH)
    return cells


def rows_of(picture: bytes) -> set[bytes]:
    """Every run of 32 grey values in a row of a picture that is not all the same."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    runs = {row[start : start + 32].tobytes() for row in pixels for start in range(0, pixels.shape[1] - 31, 32)}
    return {run for run in runs if len(set(run)) > 1}


def test_no_pixel_of_a_patient_is_on_the_page(tmp_path):
    folder = tmp_path / "results/study"
    cells = study_of(folder, ("dcgan", "lookup"))
    recipe = cells[1].object("recipe.json")
    recipe["variant"] |= {"family": "lookup", "options": {}}
    recipe["data"]["translate"] = {"source": ["t1"], "target": ["t2"]}
    write(cells[1], "recipe.json", recipe)
    real = (cells[0].folder / "real.png").read_bytes()
    (cells[1].folder / "fake.png").write_bytes(real)
    assert main(["--study", str(folder)]) == main(["--study", str(folder), "--shareable"]) == 0
    pages = [(folder / name / "comparison.html").read_text() for name in ("so_far", "shareable")]
    shown = [[base64.b64decode(one) for one in re.findall(r"data:image/png;base64,([^\"]+)", page)] for page in pages]
    patients = rows_of(real)
    assert len(patients) > 1000
    drawn = [[bool(rows_of(picture) & patients) for picture in pictures] for pictures in shown]
    assert any(drawn[0]) and not all(drawn[0]), "patients and generated images"
    assert drawn[1] and not any(drawn[1])
    assert "No real image is on this page" in pages[1] and "real images</b> (they show patients)" in pages[1]
    assert base64.b64encode(real)[:200].decode() not in pages[1]


@pytest.mark.parametrize(
    "word, search, warnings, reason",
    [
        ("yes", SEARCH, [], None),
        ("ask", SEARCH, ["is far from real"], None),
        ("no", SEARCH, [], "the terms of the data do not allow it"),
        ("not declared", SEARCH, [], "the terms of the data are not declared"),
        ("yes", {"left_out": "too few"}, [], "it was not searched for copies of patients"),
        ("yes", {}, [], "it was not searched for copies of patients"),
        ("yes", SEARCH, ["is far from real", "may copy patients"], "it may copy patients"),
        ("yes", SEARCH, ["copies patients"], "it copies patients"),
    ],
)
def test_generated_pictures_are_shown_only_if_nothing_speaks_against_it(tmp_path, word, search, warnings, reason):
    cells = study_of(tmp_path, word=word)
    write(cells[0], "copies.json", search)
    found = left_out(cells, {("phantom", "dcgan"): Trust(warnings)})
    assert found == [REAL, *([("dcgan", reason)] if reason else [])]
