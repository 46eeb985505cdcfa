"""Reads a spec from YAML. Errors name the key, its line and the remedy."""

from __future__ import annotations

import copy
import difflib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from experiments.spec import names
from experiments.spec.run_spec import RunSpec

SCENARIOS = Path(__file__).parents[1] / "scenarios"

T = TypeVar("T", bound=RunSpec)

#: A path in a spec: keys and list positions from the root, e.g. ("events", 0, "at").
Place = tuple[str | int, ...]


class SpecError(ValueError):
    """A spec that cannot be run. The text is for the user."""


def scenario_names() -> list[str]:
    """Names of the shipped scenarios."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def find_spec(name: str) -> Path:
    """The file for ``name``: a path to a YAML file, or a shipped scenario.

    Raises :class:`SpecError` with the nearest scenario.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SCENARIOS / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    raise SpecError(
        f"{name}: no such file, and no such scenario{_nearest(name, scenario_names())}\n"
        f"scenarios: {', '.join(scenario_names())}"
    )


@overload
def load_spec(path: Path, overrides: Sequence[str] = ()) -> RunSpec: ...
@overload
def load_spec(path: Path, overrides: Sequence[str], kind: type[T]) -> T: ...
def load_spec(
    path: Path, overrides: Sequence[str] = (), kind: type[RunSpec] = RunSpec
) -> RunSpec:
    """The spec in that file, changed by ``key.sub=value`` overrides.

    ``kind``: its model, a run's or one with more keys. Raises :class:`SpecError` for unreadable YAML, unknown keys and wrong values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise SpecError(f"{path}:1: a spec is a mapping of keys, e.g. 'policy: flood'")
    data.setdefault("scenario", names.valid_name(path.stem))

    def where(place: Place) -> str:
        return f"{path}:{_line(root, place)}"

    return _validated(data, overrides, kind, where)


def spec_of(keys: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunSpec:
    """The spec of these keys, which mean what they mean in a file; changed by overrides.

    Raises :class:`SpecError` for unknown keys and wrong values.
    """
    return _validated(
        copy.deepcopy({**keys}), overrides, RunSpec, lambda _place: "spec"
    )


def _validated(
    data: dict[str, Any],
    overrides: Sequence[str],
    kind: type[T],
    where: Callable[[Place], str],
) -> T:
    """The spec; ``where`` tells where a key of ``data`` stands."""
    overridden = [_override(data, item) for item in overrides]

    def place_of(place: Place) -> str:
        by_set = any(place[: len(one)] == one for one in overridden)
        return "--set" if by_set else where(place)

    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError(
            "\n".join(_explain(problem, place_of, kind) for problem in error.errors())
        ) from error


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunSpec:
    """The same for a run; also checks that the clients can hold the connections."""
    spec = load_spec(path, overrides)
    try:
        spec.check_capacity()
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    return spec


def _override(data: dict[str, Any], item: str) -> Place:
    """Sets one ``key.sub=value`` in ``data``. The value is YAML."""
    dotted, equals, value = item.partition("=")
    keys: list[str | int] = [
        int(key) if key.isdigit() else key for key in dotted.strip().split(".")
    ]
    if not equals or "" in keys:
        raise SpecError(f"--set {item}: expected key=value, e.g. cluster.nodes=5")
    if keys == ["reset"]:
        keys = ["policy"]
    if keys == ["policy"]:
        data.pop("reset", None)
    here: Any = data
    try:
        parsed = yaml.safe_load(value)
        for key in keys[:-1]:
            if isinstance(key, str) and isinstance(here, dict):
                here = here.setdefault(key, {})
            else:
                here = here[key]
        here[keys[-1]] = parsed
    except (KeyError, IndexError, TypeError, yaml.YAMLError) as error:
        raise SpecError(f"--set {item}: a spec has no key {dotted}") from error
    return tuple(keys)


def _explain(
    problem: Any, place_of: Callable[[Place], str], kind: type[RunSpec]
) -> str:
    """One line for one pydantic error: place, key, remedy."""
    place: Place = tuple(problem["loc"])
    dotted = ".".join(str(part) for part in place)
    where = place_of(place)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(place, kind)
        return (
            f"{where}: unknown key {dotted!r}{_nearest(str(place[-1]), known)}"
            f" (known here: {', '.join(known)})"
        )
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {dotted + ': ' if dotted else ''}{text}"


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _line(node: yaml.Node | None, place: Place) -> int:
    """The line (from 1) of the deepest part of ``place`` in the file."""
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _keys_beside(place: Place, kind: type[RunSpec]) -> list[str]:
    """The keys that are allowed beside the last part of ``place``."""
    model: type[BaseModel] = kind
    for part in place[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_of(model.model_fields[part]) or model
    return list(model.model_fields)


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model in a field's type: a model, or a tuple of models."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
