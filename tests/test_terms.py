"""The terms of the data: declared in the config, the strictest of all origins, on everything that is made of it."""

import itertools
import json
from pathlib import Path

import nibabel as nib
import pytest
import torch
import yaml
from fake_study import VARIANTS, make_study
from PIL import Image
from test_generate import generate, made
from test_study import edited, load

from gan.errors import GanError
from gan.files import read_json, write_json
from gan.report.declared import declared
from gan.report.page import write_report
from gan.sampling.snapshot import load_generator
from gan.study import run_key
from gan.terms import ACTS, FILE, STRICTNESS, UNDECLARED, Origin, Terms, of_study

OPEN = {"licence": "CC-BY-4.0", "allows": dict.fromkeys(ACTS, "yes"), "citation": "A. and B. (2020)"}
CLOSED = {"licence": "an agreement", "allows": {"share_images": "no", "commercial": "ask"}}


def origin(name: str = "set", word: str = "yes", **texts) -> Origin:
    row = {"licence": "CC-BY-4.0", "url": None, "citation": None, "attribution": None, "ethics": None} | texts
    return Origin.of(name, row | {"allows": dict.fromkeys(ACTS, word)})


def declare(config: dict, dataset: str, terms) -> dict:
    return edited(config, f"datasets.{dataset}.terms", terms)


@pytest.mark.parametrize("first, second", [*itertools.product(STRICTNESS, repeat=2)])
def test_the_strictest_of_all_origins_holds(first, second):
    parts = [Origin.of(name, None) if w == UNDECLARED else origin(name, w) for name, w in (("a", first), ("b", second))]
    wanted = max(first, second, key=["yes", "ask", "no", "not declared"].index)
    found = Terms(tuple(parts))
    assert {found.allows(act) for act in ACTS} == {wanted}
    assert found.declared == (UNDECLARED not in (first, second))
    assert ("do not pass on" in found.line()) != found.declared
    assert Terms.read(json.loads(json.dumps(found.record()))) == found


def test_nothing_known_is_not_declared():
    assert Terms().allows("share_weights") == UNDECLARED and not Terms().declared


@pytest.mark.parametrize(
    "record", [None, 3, {}, {"origins": [{"name": "a"}]}, {"origins": [origin().record() | {"licence": 1}]}]
)
def test_a_record_that_cannot_be_read_is_not_declared(record):
    assert Terms.read(record) == Terms()
    forged = origin().record()
    forged["allows"] = dict.fromkeys(ACTS, "sure")
    assert Terms.read({"origins": [forged]}) == Terms()


def test_words_are_those_of_yaml_and_what_is_left_out_is_asked_for(config):
    given = yaml.safe_load("{licence: X, allows: {share_images: yes, share_weights: no, share_synthetic: ask}}")
    found = load(declare(config, "ixi", given)).terms("ixi", "dcgan")
    assert [found.allows(act) for act in ACTS] == ["yes", "no", "ask", "ask"]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"allows": {}}, "datasets.ixi.terms lacks the key 'licence'"),
        ({"licence": "X", "allows": {"share_weights": "maybe"}}, "share_weights is 'maybe'; allowed: yes, no, ask"),
        ({"licence": "X", "allows": {"sell": "no"}}, "unknown key datasets.ixi.terms.allows.sell"),
        ({"licence": "X", "url": "doi:10"}, "terms.url is 'doi:10'; it must begin with http:// or https://"),
        ({"licence": 4}, "datasets.ixi.terms.licence is 4; it must be text"),
        ({"licence": "X", "license": "Y"}, "unknown key datasets.ixi.terms.license"),
        ("CC-BY-4.0", 'datasets.ixi.terms is "CC-BY-4.0"; it must be a block of keys and values or null'),
    ],
)
def test_bad_terms_are_one_line(config, given, words):
    config["datasets"]["ixi"]["terms"] = given
    with pytest.raises(GanError) as caught:
        load(config)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_terms_belong_to_the_data_unless_the_row_brings_some(config):
    with pytest.raises(GanError, match=r"variants\.dcgan\.terms is set, but the row brings nothing from elsewhere"):
        load(edited(config, "variants.dcgan.terms", OPEN))


def test_terms_decide_no_result(config):
    """No recipe, store or download changes, so that nothing is made again."""
    before, after = load(declare(config, "ixi", None)), load(declare(config, "ixi", CLOSED))
    for cell in before.cells():
        assert before.recipe(cell) == after.recipe(cell)
    assert before.store_spec("ixi") == after.store_spec("ixi")


def test_a_phantom_has_the_terms_of_the_product(config):
    assert load(config).terms("phantom", "dcgan").licences == ["Apache-2.0"]
    assert load(declare(config, "phantom", CLOSED)).terms("phantom", "dcgan").licences == ["an agreement"]


def test_origins_are_followed_to_their_end(config, tmp_path):
    """A cell that starts from a cell that starts from a file, a row made of another one, and a folder of images."""
    config = declare(declare(config, "ixi", OPEN), "chaos", CLOSED)
    rows = {
        "loaded": {"family": "dcgan", "init_from": {"path": "weights.pt", "sha256": "0" * 64}},
        "tuned": {"family": "dcgan", "init_from": {"dataset": "chaos", "variant": "loaded"}},
        "restyled": {"family": "style", "options": {"of": "tuned"}},
        "outside": {"family": "external", "options": {"path": str(tmp_path)}, "terms": CLOSED},
        "dcgan": {"family": "dcgan"},
    }
    config["variants"] |= rows
    config["study"] |= {"datasets": ["ixi"], "variants": ["tuned", "restyled", "outside", "dcgan"]}
    loaded = load(config)

    def names(variant):
        return [part.name for part in loaded.terms("ixi", variant).origins]

    assert names("dcgan") == ["ixi"]
    assert names("tuned") == names("restyled") == ["ixi", "chaos", "weights of loaded"]
    assert loaded.terms("ixi", "tuned").undeclared == ["weights of loaded"]
    assert names("outside") == ["ixi", "images of outside"]
    assert loaded.terms("ixi", "outside").allows("share_images") == "no"
    assert set(loaded.all_terms()["chaos"]) == {"loaded"}, "of the cells outside of the grid, too"
    declared_too = load(edited(config, "variants.loaded.terms", OPEN)).terms("ixi", "tuned")
    assert declared_too.declared and declared_too.allows("commercial") == "ask"


# ---------------------------------------------------------------- in files

HELD = Terms((origin("set", licence="CC-BY-SA-3.0", attribution="the Äuthors"), origin("other", "ask")))


@pytest.mark.parametrize("held, line", [(HELD, HELD.line()), (Terms(), Terms().line())])
def test_every_file_of_images_has_the_terms(tmp_path, held, line):
    path = made(tmp_path / "generator.pt", "dcgan", {"channels": 4}, size=16, terms=held.record())
    for form in ("png", "grid", "nifti", "npy"):
        assert generate(path, tmp_path / form, "--n", "1", "--format", form) == 0
        about = read_json(tmp_path / form / "samples.json")
        assert Terms.read(about["terms"]) == held and about["terms_of"] == "generator"
    for picture in (tmp_path / "png/00000_t1.png", tmp_path / "grid/grid.png"):
        text = Image.open(picture).text
        assert text["Terms"] == line and text["Synthetic"] == "yes"
        assert text.get("Licence") == ("CC-BY-SA-3.0; CC-BY-4.0" if held.declared else None)
        assert text.get("Attribution") == ("the Äuthors" if held.declared else None)
    image = nib.load(tmp_path / "nifti/00000_t1.nii.gz")
    records = [json.loads(image.header.extensions[0].get_content()), read_json(tmp_path / "npy/images.json")]
    assert [Terms.read(record["terms"]) for record in records] == [held, held]


def test_a_generator_in_its_study_has_the_present_terms_and_elsewhere_its_own(tmp_path):
    recipe = {"data": {"dataset": "set"}, "variant": {"name": "v"}}
    cell = tmp_path / "study/set/v/seed0"
    snapshot = load_generator(made(tmp_path / "g.pt", "dcgan", {"channels": 4}, size=16, terms=HELD.record()))
    for place in (cell / "generator.pt", cell / "snapshots/kimg00.pt"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((tmp_path / "g.pt").read_bytes())
    present = Terms((origin("set", "no"),))
    write_json(cell / "recipe.json", recipe)
    write_json(tmp_path / "study" / FILE, {"set": {"v": present.record()}})
    assert snapshot.terms == load_generator(cell / "generator.pt").terms == HELD, "the recipe is of another run"
    for place in (cell / "generator.pt", cell / "snapshots/kimg00.pt"):
        content = torch.load(place, weights_only=True) | {"run_key": run_key(recipe)}
        torch.save(content, place)
        found = load_generator(place)
        assert (found.terms, found.terms_of) == (present, "study")
    (tmp_path / "study" / FILE).unlink()
    assert load_generator(cell / "generator.pt").terms == HELD


# ---------------------------------------------------------------- on the page


def study_of(folder: Path, **terms: Terms):
    cells = make_study(folder, seeds=1)
    write_json(folder / FILE, {"phantom": {name: terms[name].record() for name in terms}})
    return cells


def test_page_says_once_what_all_variants_share_and_apart_what_they_do_not(tmp_path):
    shared = Terms((origin("phantom", citation="A. (2020).", ethics="approved"),))
    cells = study_of(tmp_path, **dict.fromkeys(VARIANTS, shared))
    (found,) = declared(cells)
    assert found.declared and not found.variants
    assert found.notes == ["Cite: A. (2020).", "Ethics: approved."]
    write_report("study", cells, tmp_path / "out")
    page, text = ((tmp_path / "out" / f"comparison.{end}").read_text() for end in ("html", "md"))
    assert "CC-BY-4.0; real images: yes" in page and "Cite: A. (2020)." in page and 'class="banner"' not in page
    assert "CC-BY-4.0; real images: yes" in text
    stricter = {"dcgan": Terms((*shared.origins, origin("x", "no")))}
    cells = study_of(tmp_path / "b", **dict.fromkeys(VARIANTS, shared) | stricter)
    assert [group.variants for group in declared(cells)] == [["stylegan2", "stylegan2_ada"], ["dcgan"]]


def test_page_of_undeclared_terms_has_a_banner(tmp_path):
    cells = make_study(tmp_path, seeds=1)
    write_report("study", cells, tmp_path / "out")
    page = (tmp_path / "out/comparison.html").read_text()
    assert page.count('<p class="banner">') == 1 and "Terms of the data not declared: do not pass on." in page
    write_json(tmp_path / FILE, {"phantom": {"dcgan": {"origins": "none of it can be read"}}})
    assert of_study(tmp_path / FILE, "phantom", "dcgan") == Terms()


def test_names_in_terms_are_text_on_the_page(tmp_path):
    cells = study_of(tmp_path, **dict.fromkeys(VARIANTS, Terms((origin("phantom", licence="<b>*x*</b>"),))))
    write_report("study", cells, tmp_path / "out")
    assert "&lt;b&gt;*x*&lt;/b&gt;" in (tmp_path / "out/comparison.html").read_text()
    assert r"&lt;b>\*x\*&lt;/b>" in (tmp_path / "out/comparison.md").read_text()
