"""The documents as a site."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint import CHECKOUT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs")
    done = subprocess.run(
        (*command, ".", str(folder)),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_every_document_is_a_page_that_the_start_page_leads_to(site: Path) -> None:
    documents = {"CONTRIBUTING", "CHANGELOG"} | {
        f"docs/{path.stem}" for path in CHECKOUT.glob("docs/*.md")
    }
    start = (site / "README.html").read_text("utf-8")
    navigation = start.partition('class="sidebar-tree"')[2].partition("</div>")[0]
    assert documents - set(re.findall(r'href="([^"#]+)\.html"', navigation)) == set()
    assert "README.html" in (site / "index.html").read_text("utf-8")


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    fetched = re.compile(
        r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//'
    )
    pages = sorted(site.rglob("*.html"))
    assert [
        page.name for page in pages if fetched.search(page.read_text("utf-8"))
    ] == []
    assert len(pages) > 20


def test_the_development_container_is_made_from_files_that_are_here() -> None:
    folder = CHECKOUT / ".devcontainer"
    settings = json.loads((folder / "devcontainer.json").read_text("utf-8"))
    assert (folder / settings["build"]["dockerfile"]).resolve() == (
        CHECKOUT / "Containerfile"
    )
    assert (folder / settings["build"]["context"]).resolve() == CHECKOUT
    # Clusters are made of namespaces, tracepoints and eBPF.
    assert settings["privileged"] is True
    home = settings["containerEnv"]["RESETBED_HOME"]
    python = settings["customizations"]["vscode"]["settings"]
    assert python == {"python.defaultInterpreterPath": f"{home}/.venv/bin/python"}
