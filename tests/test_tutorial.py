"""The tutorial: how its page is typed, and that its pictures are there."""

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEN = "".join(f"{number}\n" for number in range(10))


@pytest.fixture
def typing(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import type_tutorial

    yield type_tutorial
    for name in ("type_tutorial", "screens"):
        sys.modules.pop(name)


@pytest.mark.parametrize(
    ("which", "lines"),
    [
        ("all", TEN.split()),
        ("none", []),
        ("first 2", ["0", "1", "..."]),
        ("last 2", ["...", "8", "9"]),
        ("last 10", TEN.split()),
        ("like ^[35]$", ["3", "5"]),
    ],
)
def test_what_is_kept_of_an_output(typing, which, lines):
    assert typing.kept(TEN, which).split() == lines


def test_a_page_is_typed(typing, tmp_path):
    """Files are written, commands run in their order, old outputs replaced, the rest of the page left alone."""
    page = """# Title

<!-- file: words.txt -->
```yaml
one: two
```

<!-- run: start -->
```console
$ while [ ! -e go ]; do sleep 0.1; done; echo over
```

<!-- run: all -->
```console
$ cat words.txt
old output
$ pwd
```

<!-- run: until yes -->
```console
$ if [ -e seen ]; then touch go; echo yes; else touch seen; echo no; fi
```

```console
$ exit 1
```

<!-- run: ended, last 1 -->
```console
```
"""
    typed = typing.STEP.sub(typing.Typist(tmp_path).step, page)
    assert "$ cat words.txt\none: two\n$ pwd\n~/gan-study\n```" in typed and "old output" not in typed
    assert "else touch seen; echo no; fi\nyes\n```" in typed
    assert "<!-- run: ended, last 1 -->\n```console\nover\n```" in typed
    assert "```console\n$ exit 1\n```" in typed


def test_a_command_that_fails_ends_the_typing(typing, tmp_path):
    with pytest.raises(SystemExit, match=r"no such thing\n\nerror: echo no such thing; false: failed"):
        typing.STEP.sub(
            typing.Typist(tmp_path).step, "<!-- run: all -->\n```console\n$ echo no such thing; false\n```\n"
        )


def test_every_picture_that_is_shown_is_one_that_the_program_makes(typing):
    text = typing.PAGE.read_text()
    made = {match["name"]: match["text"] for match in typing.STEP.finditer(text) if match["name"]}
    assert len(made) == text.count("<!-- picture:") >= 12
    shown = {name: alt for alt, name in re.findall(r"!\[([^\]]+)\]\(images/tutorial/([^)]+)\)", text)}
    assert shown.items() <= made.items()
    assert {path.name for path in typing.PICTURES.glob("*")} == set(shown)


def test_a_picture_is_shown_below_its_comment_once(typing, tmp_path, monkeypatch):
    monkeypatch.setattr(typing, "PICTURES", tmp_path / "pictures")
    Image.new("L", (8, 4), 7).save(tmp_path / "grid.png")
    page = "<!-- picture: a.png = png grid.png x3 | a grid -->\n\nText\n"
    typist = typing.Typist(tmp_path)
    typed = typing.STEP.sub(typist.step, page)
    assert typed == page.replace("-->\n", "-->\n![a grid](images/tutorial/a.png)\n", 1)
    assert typing.STEP.sub(typist.step, typed) == typed
    assert Image.open(tmp_path / "pictures/a.png").size == (24, 12)


def test_a_section_is_found_by_its_heading_or_the_headings_are_named(typing, tmp_path):
    import screens

    (tmp_path / "page.html").write_text(
        "<main><section><h2>Cost</h2></section><section><h2>Table</h2></section></main>"
    )
    with pytest.raises(SystemExit, match=r"no section 'Costs'; there are Cost, Table"):
        screens.section(tmp_path / "page.html", 100, "Costs")
