"""The site of the documentation: `make site` builds it from the same Markdown that a repository shows."""

import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))
from render_api import render

REPOSITORY = Path(__file__).resolve().parent.parent
_project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

project = _project["name"]
release = _project["version"]
author = f"the authors of {project}"
extensions = ["myst_parser"]
exclude_patterns = ["examples", "images"]

# Markdown: anchors as on a repository's page, no highlighting where a block names no language.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
highlight_language = "none"

# Pages: the theme's system fonts, nothing from another host.
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5a8f", "color-brand-content": "#0b5a8f"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f5", "color-brand-content": "#7cc4f5"},
}


def with_api(app: Sphinx, page: str, source: list[str]) -> None:
    """Docstrings take the place of their marks in docs/api.md."""
    if page == "api":
        source[0] = render(source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", with_api)
