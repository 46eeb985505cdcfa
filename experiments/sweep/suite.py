"""A suite and its runs; pure.

A suite has a ``base`` (a run's spec) and ``factors``: dotted keys of the spec, each with
its levels. Every combination of levels is one *configuration*, run ``repetitions``
times. Plain values are their own names; levels that are lists or mappings need names::

    factors:
      policy: [drop, flood]
      scenario: [drain-node, node-failure]      # shipped scenarios, below the base
      events:
        one: [{kind: drain-node, target: c1n1}]
        two: [{kind: drain-node, target: c1n1}, {kind: drain-node, target: c2n1}]
    except:
      - {policy: drop, events: two}             # names of levels, or lists of names

**Seeds.** A seed fixes the clients' source ports, and so the connections. A run's seed is
derived from the suite's seed, the repetition, and the parts of its spec in
:data:`CONNECTION_KEYS`: events, cluster, number of connections. Policy, balancer, weights,
guard and all other keys are left out. So designs are compared on the *same* connections;
another repetition, scenario or size gets other ones. If a suite grows, its earlier runs
keep their seeds and names.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator

from experiments.spec.names import MAX_LENGTH, Name
from experiments.spec.run_spec import RunSpec, Strict

#: The parts of a spec that determine the connections of a run, and which may move.
CONNECTION_KEYS = (
    "scenario",
    "events",
    "ip",
    "cluster",
    "workload.kind",
    "workload.connections",
)
#: Factors that belong to the design. All others are settings.
DESIGN_KEYS = (
    "policy",
    "heal",
    "balancer",
    "cluster.weights",
    "cluster.buckets",
    "cluster.pins",
    "guard",
    "servers",
)
#: Keys of the cluster among them.
_DESIGN_OF_CLUSTER = ("weights", "buckets", "pins")

#: Maximum length of the levels in a folder's name. The name may have 255 octets
#: (limits.h(0p)), including what follows and the suffix of a log.
_MAX_LEVELS_LENGTH = 3 * MAX_LENGTH

#: Keys of a run's spec that the suite sets itself.
_SUITE_KEYS = ("seed", "expect", "description")


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
#: Levels as people write them: a list of plain values, or a mapping of name to any value.
_LEVELS = {
    "anyOf": [
        {"type": "array", "items": _SCALAR, "minItems": 1, "uniqueItems": True},
        {"type": "object", "minProperties": 1},
    ]
}
#: An entry of ``except`` as people write it: factor -> name of a level, or several.
_EXCEPTION = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]},
}


class Suite(Strict):
    """The model of a suite's YAML file. Every key has a default."""

    name: Name = "suite"
    description: str = ""
    seed: int = Field(default=1, ge=0)
    repetitions: int = Field(default=1, ge=1, le=1000)
    deadline_s: float = Field(
        default=300.0, gt=0, description="a run that takes longer has failed"
    )
    base: dict[str, Any] = Field(
        default_factory=dict, description="the spec of every run, but for its factors"
    )
    factors: dict[str, Annotated[dict[str, Any], WithJsonSchema(_LEVELS)]] = Field(
        default_factory=dict,
        description="dotted keys of the spec, each with its levels",
    )
    exceptions: list[Annotated[dict[str, list[str]], WithJsonSchema(_EXCEPTION)]] = (
        Field(
            default_factory=list,
            alias="except",
            description="combinations of levels that are not run",
        )
    )

    @field_validator("base", mode="before")
    @classmethod
    def _base(cls, value: Any) -> Any:
        if isinstance(value, dict) and "seed" in value:
            raise ValueError(
                "seed belongs beside base: each run's seed is derived from it"
            )
        return _without_alias(value)

    @field_validator("factors", mode="before")
    @classmethod
    def _factors(cls, value: Any) -> Any:
        """Every factor as name of level -> value."""
        if not isinstance(value, dict):
            return value
        for key in value:
            if key in _SUITE_KEYS:
                raise ValueError(f"{key} cannot be a factor")
        return {k: _levels(k, v) for k, v in _without_alias(value).items()}

    @field_validator("exceptions", mode="before")
    @classmethod
    def _exceptions(cls, value: Any) -> Any:
        """Every entry as factor -> names of levels."""
        if not isinstance(value, list):
            return value
        return [_names_of_levels(entry) for entry in value]

    def varied(self) -> tuple[str, ...]:
        """The factors with more than one level, in the suite's order."""
        return tuple(key for key, levels in self.factors.items() if len(levels) > 1)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a suite. ``levels``: factor -> name of its level.

    ``position``: the configuration's number in the order of the factors, from 0.
    """

    name: str
    position: int
    levels: Mapping[str, str]
    repetition: int
    spec: RunSpec

    def title(self) -> str:
        """A title for people: the levels and the repetition."""
        return " ".join((*self.levels.values(), f"#{self.repetition}"))

    def group(self) -> str:
        """The runs that are compared: one name for all designs on the same connections."""
        settings = (v for k, v in self.levels.items() if k not in DESIGN_KEYS)
        return " ".join((*settings, f"#{self.repetition}"))


@dataclass(frozen=True)
class Configuration:
    """One combination of levels, and the data of its spec."""

    position: int
    levels: Mapping[str, str]
    data: Mapping[str, Any]


def configurations(
    suite: Suite, scenarios: Mapping[str, Mapping[str, Any]]
) -> Iterator[Configuration]:
    """Every combination of levels, without the exceptions.

    ``scenarios``: the data of the shipped scenarios by name. The base overrides the
    scenario, the other factors override the base. Raises :class:`ValueError` for an
    unknown scenario, an exception that matches no level, or an unknown key.
    """
    _check_exceptions(suite)
    choices = itertools.product(*(levels for levels in suite.factors.values()))
    for position, choice in enumerate(choices):
        levels = dict(zip(suite.factors, choice, strict=True))
        if not any(_matches(entry, levels) for entry in suite.exceptions):
            yield Configuration(position, levels, _data(suite, levels, scenarios))


def planned(suite: Suite, one: Configuration, spec: RunSpec) -> Iterator[PlannedRun]:
    """The repetitions of a configuration whose data has become ``spec``."""
    explicit = spec.model_dump(mode="json", exclude_defaults=True)
    for repetition in range(1, suite.repetitions + 1):
        seed = derived_seed(suite.seed, explicit, repetition)
        yield PlannedRun(
            name=_name(one.levels, {**explicit, "seed": seed}, repetition),
            position=one.position,
            levels=one.levels,
            repetition=repetition,
            spec=spec.model_copy(update={"seed": seed}),
        )


def derived_seed(seed: int, spec: Mapping[str, Any], repetition: int) -> int:
    """The seed of a run, 31 bits; this module's description has what it depends on.

    ``spec`` has no defaults. So a key that is added to specs later changes no seed of
    specs without that key.
    """
    parts = {key: _get_path(spec, key) for key in CONNECTION_KEYS}
    # Some keys of the cluster belong to the design.
    size = parts["cluster"] or {}
    parts["cluster"] = {
        k: v for k, v in size.items() if k not in _DESIGN_OF_CLUSTER
    } or None
    return int(_digest([seed, repetition, parts])[:8], 16) >> 1


def random_order(suite: Suite, runs: list[PlannedRun]) -> list[PlannedRun]:
    """The runs in random order by the suite's seed, so that no design is favoured."""
    ordered = sorted(runs, key=lambda run: run.name)
    random.Random(f"{suite.seed}/order").shuffle(ordered)
    return ordered


def _name(levels: Mapping[str, str], spec: Mapping[str, Any], repetition: int) -> str:
    """The name of a run's folder: readable, not hidden, unique for each spec.

    It is short enough for a file system.
    """
    words = "-".join(
        re.sub(r"[^A-Za-z0-9._]+", "-", level) for level in levels.values()
    )
    distinct = {k: v for k, v in spec.items() if k not in ("expect", "description")}
    end = f"r{repetition}-{_digest(distinct)[:8]}"
    return f"{words.lstrip('._-')[:_MAX_LEVELS_LENGTH]}-{end}".lstrip("-")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _levels(key: str, value: Any) -> Any:
    """Name of level -> value, from a list of plain values or a mapping."""
    if isinstance(value, dict) and value:
        return {_text(name): level for name, level in value.items()}
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"{key}: expected a list of levels, or a mapping of name to level"
        )
    if any(isinstance(level, (list, dict)) for level in value):
        raise ValueError(
            f"{key}: levels that are lists or mappings need names: use a mapping"
        )
    named = {_text(level): level for level in value}
    if len(named) < len(value):
        raise ValueError(f"{key}: a level is listed twice")
    return named


def _names_of_levels(entry: Any) -> Any:
    if not isinstance(entry, dict) or not entry:
        raise ValueError("each entry is a mapping of factor to level, or to several")
    return {
        key: [_text(name) for name in (level if isinstance(level, list) else [level])]
        for key, level in _without_alias(entry).items()
    }


def _text(level: Any) -> str:
    """The name of a level; booleans are spelled as in YAML."""
    return str(level).lower() if isinstance(level, bool) else str(level)


def _without_alias(keys: Any) -> Any:
    """Replaces ``reset``, an alias of ``policy`` in suites and specs."""
    if not isinstance(keys, dict):
        return keys
    return {"policy" if key == "reset" else str(key): v for key, v in keys.items()}


def _check_exceptions(suite: Suite) -> None:
    for entry in suite.exceptions:
        for key, names in entry.items():
            if key not in suite.factors:
                raise ValueError(f"except: {key!r} is not a factor")
            for name in names:
                if name not in suite.factors[key]:
                    known = ", ".join(suite.factors[key])
                    raise ValueError(
                        f"except: {name!r} is not a level of {key}: {known}"
                    )


def _matches(entry: Mapping[str, list[str]], levels: Mapping[str, str]) -> bool:
    return all(levels[key] in names for key, names in entry.items())


def _data(
    suite: Suite,
    levels: Mapping[str, str],
    scenarios: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The data of a spec: scenario, overridden by base, overridden by the other factors."""
    scenario = suite.base.get("scenario", suite.name)
    if "scenario" in levels:
        scenario = suite.factors["scenario"][levels["scenario"]]
        if scenario not in scenarios:
            raise ValueError(
                f"factors.scenario: {scenario!r} is not one of: {', '.join(scenarios)}"
            )
    shipped = _without_alias(dict(scenarios.get(scenario, {})))
    data: dict[str, Any] = _deep_merge(shipped, suite.base)
    data["scenario"] = scenario
    for key, level in levels.items():
        if key != "scenario":
            _set_path(data, key, suite.factors[key][level])
    return data


def _deep_merge(below: Any, above: Any) -> Any:
    """Merges mappings, replaces anything else. Does not change its arguments."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return json.loads(json.dumps(above))
    merged = json.loads(json.dumps(below))
    for key, value in above.items():
        merged[key] = _deep_merge(merged[key], value) if key in merged else value
    return json.loads(json.dumps(merged))


def _set_path(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets the value of a dotted key; numbers are positions in a list."""
    here: Any = data
    *path, last = dotted.split(".")
    try:
        for part in path:
            if isinstance(here, dict):
                here = here.setdefault(part, {})
            else:
                here = here[int(part)]
        here[last if isinstance(here, dict) else int(last)] = value
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"factors.{dotted}: a spec has no such key") from error


def _get_path(data: Mapping[str, Any], dotted: str) -> Any:
    here: Any = data
    for part in dotted.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here
