"""The house rules that a machine can check: style, types, documents, portability."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.lint import CHECKOUT, CHECKS, FOLDERS, PACKAGES, Check
from tests.needed_programs import cannot_run

#: A function fits a screen.
LONGEST_FUNCTION = 50
_OTHER_FOLDERS = (".ci", ".github", "docs")
_TEXT = {".py", ".c", ".h", ".cfg", ".md", ".yaml", ".yml", ".svg", ""}
#: Where some machine keeps its things, and no other.
_MACHINES_OWN = re.compile(r"(?<![\w.~*])/(?:home|root|work|Users)/|/tmp/v\d")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_tool_finds_nothing(check: Check) -> None:
    """The same that ``./resetbed lint`` does."""
    if check.left_out:
        cannot_run(f"{check.needs} is not installed")
    _nothing_wrong(check.complaints())


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_fit_a_screen(package: str) -> None:
    long = [
        f"{path.relative_to(CHECKOUT)}:{each.lineno} {each.name}: {_lines(each)} lines"
        for path in sorted(CHECKOUT.glob(f"{package}/**/*.py"))
        for each in _functions(path)
        if _lines(each) > LONGEST_FUNCTION
    ]
    _nothing_wrong(long)


def test_imports_run_one_way() -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)} imports {name}"
        for package in PACKAGES
        for path in sorted(CHECKOUT.glob(f"{package}/**/*.py"))
        for name in _imports(path)
        if _is_backwards(package, name)
    ]
    _nothing_wrong(wrong)


def test_no_two_folders_import_each_other() -> None:
    """Not in a longer circle either: imports go down, folder by folder."""
    graph = imports_of_folders()
    circles = {
        f"{one} and {other} import each other"
        for one in graph
        for other in _reached(graph, one)
        if one < other and one in _reached(graph, other)
    }
    _nothing_wrong(sorted(circles))


def test_no_name_of_a_file_is_used_twice() -> None:
    """A file's name says what it is for; what a package must have is no name."""
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted(CHECKOUT.glob(f"{package}/**/*.py")):
            if not path.name.startswith("__"):
                places[path.name].append(str(path.relative_to(CHECKOUT)))
    _nothing_wrong([", ".join(several) for several in places.values() if several[1:]])


def test_no_file_knows_a_machines_own_paths() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()}"
        for path in _files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if _MACHINES_OWN.search(line)
    ]
    _nothing_wrong(found)


def _nothing_wrong(complaints: Sequence[str]) -> None:
    """Fails with the complaints alone: where in this file says nothing."""
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for each in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield each


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for each in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            yield each.module


def imports_of_folders() -> dict[str, set[str]]:
    """Folder -> the other folders of the packages that its files import."""
    graph: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in CHECKOUT.glob(f"{package}/**/*.py"):
            own = str(path.parent.relative_to(CHECKOUT))
            found = {_folder_of(name) for name in _imported_names(path)}
            graph[own] |= found - {own, ""}
    return dict(graph)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Every folder that ``start`` imports, by whatever way."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _folder_of(name: str) -> str:
    """The folder of a module or package of ours; "" for what is not ours."""
    path = CHECKOUT.joinpath(*name.split("."))
    if name.split(".")[0] not in PACKAGES:
        return ""
    if path.with_suffix(".py").is_file():
        return str(path.parent.relative_to(CHECKOUT))
    return str(path.relative_to(CHECKOUT)) if path.is_dir() else ""


def _imported_names(path: Path) -> Iterator[str]:
    """Full names of what a file imports; of ``from a import b``, ``a.b`` if it is one."""
    for each in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            names = (f"{each.module}.{alias.name}" for alias in each.names)
            yield from (name if _folder_of(name) else each.module for name in names)


def _is_backwards(package: str, imported: str) -> bool:
    """Against experiments -> topologies, controller, nodes -> topologies.domain."""
    owner = imported.split(".")[0]
    if owner == "mininet":
        return package in ("controller", "nodes")
    if package == "experiments" or owner not in PACKAGES or owner == package:
        return False
    return not imported.startswith("topologies.domain")


def _files() -> Iterator[Path]:
    """Every text file of the project (the checkout may hold others, and no git)."""
    folders = (CHECKOUT / name for name in (*FOLDERS, *_OTHER_FOLDERS))
    inside = (path for folder in folders for path in folder.rglob("*"))
    for path in sorted((*inside, *CHECKOUT.glob("*"))):
        if path.suffix in _TEXT and path.is_file() and not _is_a_tools_own(path):
            yield path


def _is_a_tools_own(path: Path) -> bool:
    """Caches and the like: hidden, wherever tools were started."""
    first, *rest = path.relative_to(CHECKOUT).parts
    hidden = [name for name in rest if name.startswith(".")]
    return bool(hidden) or (first.startswith(".") and first not in _OTHER_FOLDERS)
