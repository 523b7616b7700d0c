"""The site of the documentation: it builds without a warning, has every page, and loads nothing from another host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
NAMESPACES = {"http://www.w3.org/2000/svg"}
LOADING = {"src", "srcset", "data", "poster", "action", "background"}


def build(source: Path, out: Path) -> subprocess.CompletedProcess:
    """As `make site`, into a new folder."""
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
    return subprocess.run([*command, "-c", DOCS, source, out], capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    built = build(DOCS, out)
    assert built.returncode == 0, built.stderr
    return out


class Loaded(HTMLParser):
    """Addresses that a browser fetches by itself: of scripts, pictures, frames, style sheets; not of links in text."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [value for name, value in given.items() if name in LOADING]
        self.found += [given["href"]] if tag in ("link", "use", "image") and "href" in given else []
        self.found += loaded_by_css(given.get("style", ""))


def loaded_by_css(text: str) -> list[str]:
    return re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", text)


def named_by_js(text: str) -> list[str]:
    """Every address outside of comments: what a script may fetch cannot be known without running it."""
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)
    return re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\"'`\s)]*", code)


def loaded(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".css":
        return loaded_by_css(text)
    if path.suffix == ".js":
        return named_by_js(text)
    inline = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
    return Loaded(text).found + [address for style in inline for address in loaded_by_css(style)]


def elsewhere(addresses: list[str]) -> set[str]:
    return {address for address in addresses if re.match(r"\s*(https?:)?//", address)} - NAMESPACES


def test_nothing_is_loaded_from_another_host(site):
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".js")]
    assert {path.suffix for path in files} == {".html", ".css", ".js"}
    assert {path.name: found for path in files if (found := elsewhere(loaded(path)))} == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/a.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/css">'),
        ("a.html", '<p style="background: url(https://a.example/b.png)">'),
        ("a.html", "<style>@import 'https://a.example/b.css';</style>"),
        ("a.css", '@font-face {src: url("https://fonts.example/a.woff2")}'),
        ("a.js", 'import("https://unpkg.example/mermaid.js") // a comment'),
    ],
)
def test_what_is_loaded_from_another_host_is_found(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert len(elsewhere(loaded(tmp_path / name))) == 1


def test_a_link_in_the_text_is_no_asset(tmp_path):
    (tmp_path / "a.html").write_text('<a href="https://example.org/ixi">IXI</a>')
    assert not elsewhere(loaded(tmp_path / "a.html"))


def test_every_page_is_in_the_navigation(site):
    home = (site / "index.html").read_text()
    pages = {path.with_suffix(".html").name for path in DOCS.glob("*.md")} - {"index.html"}
    assert {name for name in pages if f'class="reference internal" href="{name}"' not in home} == set()


def test_the_api_has_signatures_and_docstrings(site):
    text = (site / "api.html").read_text()
    for anchor in ("variant-loss", "store-open", "score", "ganerror"):
        assert f'id="{anchor}"' in text
    assert "The scalar to descend in" in text and "[N, C, *size]" in text and "api:" not in text


def test_a_name_that_its_module_lacks_is_an_error(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    from render_api import render

    assert "#### mirrored" in render("<!-- api: gan.families.contract mirrored -->")
    with pytest.raises(LookupError, match=r"gan\.families\.contract has no mirror$"):
        render("<!-- api: gan.families.contract mirror -->")


def test_a_broken_link_is_an_error(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("# Home\n\n[no page](absent.md), [no heading](index.md#elsewhere)\n")
    (source / "site.css").write_text("")
    built = build(source, tmp_path / "out")
    assert built.returncode == 1
    assert "absent" in built.stderr and "elsewhere" in built.stderr
