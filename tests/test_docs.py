"""What the documents name is there: files, what is said to be in them, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lint import CHECKOUT, FOLDERS, PACKAGES
from tests.test_style import imports_of_folders

DOCUMENTS = sorted(
    (
        *CHECKOUT.glob("docs/*.md"),
        *(CHECKOUT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    )
)
#: A path of the project in a code span: folder or file, from the top of the checkout.
_FOLDERS = "|".join((r"\.ci", r"\.github", "docs", "schemas", *FOLDERS))
_PATH = re.compile(rf"`((?:{_FOLDERS})/[^`\s]*)`")
#: A file's bare name in a code span.
_NAME = re.compile(r"`(\w+(?:\.bpf)?\.(?:py|c|h|yaml))`")
#: "`name` in `folder/file`": what a file is said to hold.
_WITHIN = re.compile(r"`(\w+)` in\s+`([\w./]+/[\w.]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#([^)]*))?\)")
#: What a user makes, or another project has; not the testbed's.
_OTHERS = ("my.yaml", "spec.yaml", "ringbuf.c", "tcp.h", "jhash.c")

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT))
)


@every_document
def test_every_named_file_exists(document: Path) -> None:
    text = prose(document)
    paths = [path for path in _PATH.findall(text) if not (CHECKOUT / path).exists()]
    named = set(_NAME.findall(text)).difference(_OTHERS)
    assert paths + sorted(named - names_of_files()) == []


@every_document
def test_a_file_contains_what_the_documents_claim(document: Path) -> None:
    wrong = [
        f"{name} in {path}"
        for name, path in _WITHIN.findall(prose(document))
        if path.split("/")[0] in FOLDERS
        and not re.search(rf"\b{name}\b", (CHECKOUT / path).read_text("utf-8"))
    ]
    assert wrong == []


@every_document
def test_every_named_constant_exists(document: Path) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", prose(document)))
    assert sorted(named - words_of_the_code()) == []


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    wrong = [
        link
        for link, _ in _LINK.findall(document.read_text("utf-8"))
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert wrong == []


def test_every_note_is_listed() -> None:
    index = (CHECKOUT / "docs" / "README.md").read_text("utf-8")
    links = {link for link, _ in _LINK.findall(index)}
    notes = {path.name for path in CHECKOUT.glob("docs/*.md")} - {"README.md"}
    assert notes - links == set()


def test_the_readme_points_to_the_documents() -> None:
    text = (CHECKOUT / "README.md").read_text("utf-8")
    links = {link for link, _ in _LINK.findall(text)}
    assert {"docs/README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= links


def test_folders_import_what_the_architecture_says() -> None:
    allowed = rooms_of_the_architecture()
    imported = {
        folder: found for folder, found in imports_of_folders().items() if found
    }
    wrong = [
        f"{folder} imports {other}"
        for folder, others in imported.items()
        for other in sorted(others)
        if not any(
            other == one or other.startswith(f"{one}/")
            for one in allowed.get(folder, ())
        )
    ]
    assert wrong == []
    assert [folder for folder in allowed if not (CHECKOUT / folder).is_dir()] == []


def rooms_of_the_architecture() -> dict[str, list[str]]:
    """Folder -> the folders that it may import, by the tables of the document."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w/]+)` \|.*\| (.*) \|$", text, re.MULTILINE)
    return {
        folder: [_whole(folder, name) for name in re.findall(r"`([\w/]+)`", names)]
        for folder, names in rows
    }


def _whole(folder: str, name: str) -> str:
    """A folder's path, from the short name that it has in the row of ``folder``."""
    room = folder.split("/")[0]
    return name if name.split("/")[0] in PACKAGES else f"{room}/{name}"


def prose(document: Path) -> str:
    """A document without its blocks of code; of the changelog, what is not yet released:
    what an earlier version had may have another name by now."""
    text = document.read_text("utf-8")
    if document.name == "CHANGELOG.md":
        text = text.partition("\n## 0.")[0]
    return "".join(_outside_blocks(text))


def _outside_blocks(text: str) -> Iterator[str]:
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2 == 0:
            yield part


@cache
def words_of_the_code() -> frozenset[str]:
    """Every word in the code of the project."""
    files = (
        path
        for name in (*FOLDERS, ".ci")
        for path in (CHECKOUT / name).rglob("*")
        if path.suffix in (".py", ".c", ".h") and path != Path(__file__)
    )
    text = " ".join(path.read_text("utf-8") for path in (*files, CHECKOUT / "resetbed"))
    return frozenset(re.findall(r"\w+", text))


@cache
def names_of_files() -> frozenset[str]:
    """The name of every file in the project's folders."""
    files = (path for name in FOLDERS for path in (CHECKOUT / name).rglob("*.*"))
    return frozenset(path.name for path in files)
