"""The page of a reader in a real browser: by keyboard alone, closed and opened again, with and without a memory."""

import json

import numpy as np
import pytest
from browser import Browser
from conftest import REPOSITORY
from reading import data_of, make_study

from gan.__main__ import main
from gan.readers.questions import CUES, REAL, SYNTHETIC

FORGETFUL = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }})"


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """The folder of a reading of 8 images and 2 to warm up, with feedback, by two readers."""
    study = make_study(tmp_path_factory.mktemp("reading"))
    words = ["--study", str(study), "--variants", "dcgan", "--n", "4", "--warmup", "2", "--feedback", "--readers", "2"]
    assert main(["readers", "make", *words]) == 0
    return study / "readers/heads"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


def shown(browser, part: str) -> bool:
    return not browser.value(f"document.getElementById('{part}').hidden")


def said(number: int) -> dict:
    """What the simulated reader says of the image ``number`` of the page."""
    rng = np.random.default_rng(number)
    cues = sorted(rng.choice(len(CUES), rng.integers(0, 3), replace=False).tolist())
    return {
        "call": (REAL, SYNTHETIC)[rng.integers(2)],
        "confidence": int(rng.integers(1, 4)),
        "realism": int(rng.integers(1, 6)),
        "cues": [CUES[place] for place in cues],
    }


def answer(browser, number: int) -> dict:
    """Answer by keyboard, odd images by digits alone; check that no image is left before all of it is answered."""
    one = said(number)
    assert browser.value("document.getElementById('next').disabled")
    call = ("1" if one["call"] == REAL else "2") if number % 2 else ("r" if one["call"] == REAL else "s")
    browser.press(call, str(one["confidence"]), "Enter", str(one["realism"]))  # Enter too early does nothing
    browser.press(*(str(CUES.index(cue) + 1) for cue in one["cues"]), "Enter")
    return one


def test_a_reader_reads_all_by_keyboard_and_stops_in_between(browser, reading, tmp_path):
    page = reading / "pages/reader1.html"
    items = data_of(page.read_text())["items"]
    expected = []
    browser.open(page)
    assert browser.requested() == [page.resolve().as_uri()]
    browser.press("Enter")  # the button has the focus
    for number, item in enumerate(items):
        if number == 5:  # the page is closed in the middle, and opened again
            browser.open(page)
            assert "5 of 11" in browser.value("document.getElementById('kept').textContent")
            browser.press("Enter")
        assert browser.value("document.getElementById('image').src").endswith(item["image"])
        assert browser.value("document.getElementById('image').naturalWidth") == 16
        expected.append({"id": item["id"], **answer(browser, number)})
        if "truth" in item:
            assert item["truth"] in browser.value("document.getElementById('truth').textContent")
            browser.press("2", "Enter")  # the answer is final
    assert shown(browser, "end")
    browser.press("Enter")
    saved = browser.file("answers-reader1.json")
    content = json.loads(saved.read_text())
    times = [one.pop("ms") for one in content["answers"]]
    assert content["answers"] == expected
    assert all(isinstance(ms, int) and 0 < ms < 600_000 for ms in times)
    assert content["started"] < content["finished"] and content["screen"]["enlarge"] > 1
    assert main(["readers", "score", str(reading / "key.json"), str(saved), "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "reading.json").read_text())
    assert result["readers"] == ["reader1"] and result["recorded"]


def test_without_a_memory_the_saved_file_is_where_it_goes_on(browser, reading, tmp_path, capsys):
    page = reading / "pages/reader2.html"
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source=FORGETFUL)["identifier"]
    browser.open(page)
    assert "does not remember" in browser.value("document.getElementById('kept').textContent")
    browser.press("Enter")
    answer(browser, 0)
    browser.press("Enter")
    answer(browser, 1)
    browser.value("document.getElementById('save').click()")
    saved = browser.file("answers-reader2.json")
    assert main(["readers", "score", str(reading / "key.json"), str(saved)]) == 1
    assert "9 of 11 images have no answer" in capsys.readouterr().err
    for file, problem in ((reading / "key.json", True), (saved, False)):
        browser.open(page)
        assert shown(browser, "start")
        document = browser.send("DOM.getDocument")["root"]["nodeId"]
        node = browser.send("DOM.querySelector", nodeId=document, selector="#load")["nodeId"]
        browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
        browser.value("new Promise((done) => setTimeout(done, 200))")
        assert bool(browser.value("document.getElementById('problem').textContent")) == problem
        assert shown(browser, "reading") != problem
    assert browser.value("document.getElementById('progress').textContent") == "Image 1 of 9"
    browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_on_a_small_screen_the_factor_is_whole_and_nothing_is_cut_off(browser, reading):
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    browser.open(reading / "pages/reader2.html")
    browser.value("localStorage.clear()")
    browser.open(reading / "pages/reader2.html")
    browser.press("Enter")
    width = browser.value("document.getElementById('image').width")
    assert width % 16 == 0 and 0 < width < 360
    assert browser.value("document.documentElement.scrollWidth") <= 360
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_continuous_integration_installs_the_browser():
    assert "chromium" in (REPOSITORY / ".ci/run").read_text()
