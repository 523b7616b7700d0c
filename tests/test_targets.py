"""The words of a call of Snakemake that ask for something: a mistake is one line, before anything runs."""

import pytest
from conftest import SCHEMA

from gan.errors import GanError
from gan.study import load
from gan.targets import asked_of, check_targets

RULES = ("all", "train", "score", "prefetch", "ixi", "stylegan2", "stylegan2_ada", "dcgan")


@pytest.fixture(scope="module")
def study():
    source = {"source": {"phantom": {"subjects": 8}}, "layout": "brats", "contrasts": ["t1c"]}
    variants = ("stylegan2", "stylegan2_ada", "dcgan", "progan")
    config = {
        "study": {"name": "mine", "datasets": ["ixi"], "variants": ["stylegan2", "stylegan2_ada", "dcgan"]},
        "datasets": {"ixi": source, "chaos": source},
        "variants": {name: {"family": name.removesuffix("_ada")} for name in variants},
    }
    return load(config, SCHEMA)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"": ["dcgann"]}, r"^dcgann: no target of the study mine; do you mean dcgan\? allowed: all, ixi, stylegan2, "),
        ({"": ["x"]}, r"^x: no target of the study mine; allowed: all, "),
        ({"": ["progan"]}, "^progan: a row of the config that study.variants does not name; add it there$"),
        ({"": ["all", "chaos"]}, "^chaos: a row of the config that study.datasets does not name"),
        ({"": ["all"], "--forcerun": ["trian"]}, r"^--forcerun trian: no target .* do you mean train\?"),
        (
            {"": [], "--forcerun": ["train", "dcgan"]},
            r"^--forcerun dcgan: .* all cells would be made; .*: snakemake --cores 2 dcgan --forcerun train$",
        ),
    ],
)
def test_a_word_that_nothing_makes_is_one_line(study, asked, said):
    with pytest.raises(GanError, match=said) as error:
        check_targets(study, asked, RULES)
    assert "\n" not in str(error.value)


def test_the_words_of_a_call():
    call = "snakemake --cores 2 --configfile a.yaml b.yaml --forcerun train score -- dcgan results/x/y.json"
    wanted = {"": ["dcgan", "results/x/y.json"], "--forcerun": ["train", "score"], "--until": [], "--omit-from": []}
    found = asked_of(call.split())
    assert {option: sorted(words) for option, words in found.items()} == {k: sorted(v) for k, v in wanted.items()}
    assert asked_of(["pytest", "tests"]) == {"": []}


def test_what_there_is_passes(study):
    check_targets(study, {"": ["dcgan"], "--forcerun": ["train"], "--until": ["score"]}, RULES)
    check_targets(study, {"": ["results/mine/terms.json", "report.html"], "--forcerun": []}, RULES)
    check_targets(study, {"": [], "--forcerun": ["train", "all"]}, RULES)
