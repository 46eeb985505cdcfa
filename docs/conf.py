"""Makes a site of the documents: ``./resetbed docs`` (sphinx-build(1)).

The sources are the Markdown files as they are read on the web of a repository: their links
lead to files, and MyST turns those to documents into links between pages, and those to other
files into downloads. The top of the sources is the checkout, so that README and CONTRIBUTING
are pages, too.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

project = "resetbed"
html_title = "resetbed"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"]
#: GitHub's names of headings, which links between the documents use.
myst_heading_anchors = 3
# The lexers of Pygments find errors in outputs and sketches that stand in blocks without a
# language; those are text.
highlight_language = "text"
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False


def setup(app: Sphinx) -> ExtensionMetadata:
    """Gives the start page a table of contents, which the README does not need."""
    app.connect("source-read", _with_contents)
    app.connect("build-finished", _with_index)
    return {"parallel_read_safe": True}


def _with_contents(app: Sphinx, document: str, source: list[str]) -> None:
    """Every page in the sidebar: the notes, and what stands beside them."""
    if document == "README":
        source[0] += _toctree("docs/README", "CONTRIBUTING", "CHANGELOG")
    elif document == "docs/README":
        found = sorted(app.env.found_docs - {document})
        source[0] += _toctree(
            *(f"/{name}" for name in found if name.startswith("docs/"))
        )


def _with_index(app: Sphinx, failure: Exception | None) -> None:
    """Who opens the folder is led to the README, which GitHub shows first, too."""
    if failure is None:
        refresh = '<meta http-equiv="refresh" content="0; url=README.html">'
        Path(app.outdir, "index.html").write_text(f"<!doctype html>{refresh}\n")


def _toctree(*documents: str) -> str:
    lines = ("```{toctree}", ":hidden:", *documents, "```")
    return "\n\n" + "\n".join(lines) + "\n"
