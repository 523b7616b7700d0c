"""Faults of YAML are one line with file and line; a row of `FAULTS` is a case."""

import pytest

from gan.errors import GanError
from gan.syntax import check_overlays, check_syntax

GOOD = "study: {name: x}\nvariants:\n  a: &a {options: {lr: 1}}\n  b: {<<: *a, family: dcgan}\n"

# text after GOOD, which has four lines -> what is said
FAULTS = {
    "unclosed": ("x: {a: 1\n", "line 6, column 1: expected ',' or '}'"),
    "a tab": ("x:\n\ty: 1\n", "line 6, column 1: found character '\\t' that cannot start any token"),
    "a tag": ('x: !!python/object/apply:os.system ["true"]\n', "line 5, column 4: could not determine a constructor"),
    "two documents": ("---\nx: 1\n", "line 5, column 1: but found another document"),
    "a key twice": ("study: {name: y}\n", "line 5: the key 'study' is given twice, also in line 1; keep one"),
    "a key twice below": ("x:\n  - {y: 1, z: 2,\n     y: 3}\n", "line 7: the key 'y' is given twice, also in line 6"),
    "itself": ("x: &x {y: *x}\n", "line 5: contains itself; write out what it refers to"),
    "an anchor that is not there": ("x: *nothing\n", "line 5, column 4: found undefined alias 'nothing'"),
    "NUL": ('x: "\0"\n', "line 5: a character that YAML does not allow; remove it"),
    "latin-1": ("x: M\xfcller\n", "line 5: a byte that is not UTF-8; save the file as UTF-8"),
    "many values": (
        "".join(f"l{k}: &l{k} [{', '.join(['lol' if k == 0 else f'*l{k - 1}'] * 9)}]\n" for k in range(9)),
        "line 10: more than 100000 values with its anchors written out; shorten it",
    ),
    "an impossible date": ("x: 2024-13-45\n", "not YAML (month must be in 1..12); correct it"),
}


@pytest.fixture
def overlay(tmp_path):
    return tmp_path / "overlay.yaml"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line(name, overlay):
    text, said = FAULTS[name]
    overlay.write_text(GOOD + text, encoding="latin-1")
    with pytest.raises(GanError) as error:
        check_syntax(overlay)
    assert said in str(error.value) and str(error.value).startswith(f"{overlay}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "held"), [("# mine\n", "nothing"), ("- a\n", "a sequence"), ("7\n", "a scalar")])
def test_a_file_without_keys_is_told(text, held, overlay):
    overlay.write_text(text)
    with pytest.raises(GanError, match=f"overlay.yaml: holds {held}, not keys with values"):
        check_syntax(overlay)


@pytest.mark.parametrize("text", [GOOD, "\ufeff" + GOOD])
def test_what_is_right_passes(text, overlay):
    check_syntax(overlay)
    overlay.write_text(text, encoding="utf-8")
    check_syntax(overlay)


@pytest.mark.parametrize(
    "words", ["-n --configfile {} good.yaml -- all", "all --configfiles good.yaml {}", "--configfile={} all"]
)
def test_files_of_a_call_are_checked(words, overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    overlay.write_text("a: 1\na: 2\n")
    with pytest.raises(SystemExit, match=r"^error: overlay.yaml: line 2: the key 'a' is given twice"):
        check_overlays(words.format("overlay.yaml").split())
    check_overlays(["--cores", "2", "overlay.yaml", "--configfile=good.yaml", "absent.yaml"])
    with pytest.raises(SystemExit, match=r"^error: --configfile all: no such file; .* a target goes in front of it"):
        check_overlays(["--configfile", "good.yaml", "all", "--cores", "2"])
