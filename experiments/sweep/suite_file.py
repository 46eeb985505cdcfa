"""Reads a suite from YAML. Errors name file, line and key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from experiments.spec import names
from experiments.spec.run_spec import RunSpec
from experiments.spec.spec_file import SpecError, find_spec, scenario_names
from experiments.sweep.suite import (
    Configuration,
    PlannedRun,
    Suite,
    configurations,
    planned,
    random_order,
)

SUITES = Path(__file__).parents[1] / "suites"

#: Keys that only suites have. A file with one of them is a suite.
_SUITE_ONLY = frozenset(("base", "factors", "repetitions", "except"))


def suite_names() -> list[str]:
    """Names of the shipped suites."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def find_suite(name: str) -> Path:
    """The file for ``name``: a path to a YAML file, or a shipped suite.

    Raises :class:`~experiments.spec.spec_file.SpecError`.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SUITES / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    raise SpecError(
        f"{name}: no such file, and no such suite; suites: {', '.join(suite_names())}"
    )


def is_suite(name: str) -> bool:
    """Whether ``name`` is a suite, not the spec of a single run."""
    path = Path(name)
    if not path.is_file():
        return name in suite_names()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # the reader of specs reports the error
    return isinstance(data, dict) and not _SUITE_ONLY.isdisjoint(data)


def load_suite(path: Path, name: str | None = None) -> Suite:
    """The suite in that file. Its default name is ``name``, or the file's name.

    Raises :class:`~experiments.spec.spec_file.SpecError`.
    """
    data = _mapping(path)
    data.setdefault("name", name or names.valid_name(path.stem))
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        raise SpecError(
            "\n".join(_explain(problem, path, root) for problem in error.errors())
        ) from error


def expand(suite: Suite, path: Path) -> list[PlannedRun]:
    """Every run of a suite, in the order of execution.

    Each configuration is checked like a spec. Raises
    :class:`~experiments.spec.spec_file.SpecError` with ``path`` for the first invalid one,
    and for a suite without runs.
    """
    scenarios = {name: _mapping(find_spec(name)) for name in scenario_names()}
    runs: list[PlannedRun] = []
    try:
        for one in configurations(suite, scenarios):
            runs.extend(planned(suite, one, _spec(one, path)))
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{path}: {error}") from error
    if not runs:
        raise SpecError(f"{path}: no run is left: 'except' matches every combination")
    return random_order(suite, runs)


def _spec(one: Configuration, path: Path) -> RunSpec:
    try:
        spec = RunSpec.model_validate(one.data)
        spec.check_capacity()
    except ValueError as error:
        chosen = ", ".join(f"{key}: {level}" for key, level in one.levels.items())
        problems = str(error)
        if isinstance(error, ValidationError):
            problems = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {_message(each)}"
                for each in error.errors()
            )
        raise SpecError(f"{path}: with {{{chosen}}}: {problems}") from error
    return spec


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path}:1: expected a mapping of keys")
    return data


def _explain(problem: Any, path: Path, root: yaml.Node | None) -> str:
    """One line for one error: file, line, key, remedy."""
    place = problem["loc"]
    line, node = 1, root
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if place and key.value == str(place[0]):
            line, node = key.start_mark.line + 1, value
    if problem["type"] == "extra_forbidden":
        known = ["except" if k == "exceptions" else k for k in Suite.model_fields]
        close = difflib.get_close_matches(str(place[0]), known, n=1, cutoff=0.5)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"{path}:{line}: unknown key {place[0]!r}{meant} (known here: {', '.join(known)})"
    return f"{path}:{line}: {'.'.join(map(str, place))}: {_message(problem)}"


def _message(problem: Any) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")
