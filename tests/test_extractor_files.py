"""Files that extractors need: from this machine or a server, checked, and never replaced by another extractor."""

import hashlib
from pathlib import Path

import pytest

from gan.errors import GanError
from gan.scoring.extractors import registry
from gan.scoring.extractors.inception.options import Options
from gan.scoring.extractors.obtain import obtain

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def address(served):
    """Of a server on this machine that has ``good.pt`` and ``other.pt``."""
    folder, address = served
    (folder / "good.pt").write_bytes(CONTENT)
    (folder / "other.pt").write_bytes(b"another file")
    return address


def test_the_default_is_the_published_file():
    assert Options().url.endswith("/inception-2015-12-05.pt") and len(Options().sha256) == 64
    assert Options().size == 95607719 and Options().fault(used=True) is None


def test_a_file_comes_from_its_address_once(address, tmp_path, capfd):
    target = tmp_path / "deep/inception.pt"
    obtain("inception", Options(url=f"{address}/good.pt", sha256=SHA256), target)
    assert target.read_bytes() == CONTENT and [*target.parent.iterdir()] == [target]
    assert "download: 100%" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["path", "variable"])
def test_a_file_of_this_machine_needs_no_internet(how, tmp_path, monkeypatch):
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GAN_INCEPTION", "nowhere.pt" if how == "path" else "~/mine.pt")
    options = Options(path="$HOME/mine.pt" if how == "path" else None, url="http://127.0.0.1:9/x.pt", sha256=SHA256)
    obtain("inception", options, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == CONTENT
    assert Options(url=None).fault(used=True) is None, "the environment names one"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("url other.pt", "its sha256 is d4d7a2b6"),
        ("url absent.pt", "the server answers 404"),
        ("path other.pt", "(12 bytes), not"),
        ("path absent.pt", "absent.pt: no such file"),
    ],
)
def test_what_cannot_be_had_is_told_with_the_ways_out(where, words, address, tmp_path):
    (tmp_path / "other.pt").write_bytes(b"another file")
    kind, name = where.split()
    options = Options(**{kind: f"{address if kind == 'url' else tmp_path}/{name}"}, sha256=SHA256)
    with pytest.raises(GanError) as error:
        obtain("inception", options, tmp_path / "out/inception.pt")
    remedy = "GAN_INCEPTION or metrics.inception.path, or take inception out of metrics.extractors"
    assert words.replace("d4d7a2b6", hashlib.sha256(b"another file").hexdigest()) in str(error.value)
    assert str(error.value).endswith(remedy) and "\n" not in str(error.value)
    assert not list(Path(tmp_path).glob("out/*")), "nothing of the wrong file stays"


@pytest.mark.parametrize(
    ("names", "lead"),
    [(["inception", "indomain"], 1), (["indomain", "inception"], 0), (["random", "indomain"], 0), (["inception"], 0)],
)
def test_a_descriptive_extractor_leads_only_alone(names, lead):
    assert registry.leading(names) == lead
    assert registry.descriptive("inception-clean-f58cb9b6") and not registry.descriptive("indomain-12345678")
