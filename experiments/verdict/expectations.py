"""Expectations held against a summary, and what of them could not be judged: pure.

An expectation is a dotted key of ``summary.json`` and a condition: a number or a text
(equal), or an operator and a number, another key, or a sum of keys, e.g. ``"> 0"``,
``"== connections.moved"`` or ``"== half_open.at_end + half_open.silent"``. In a list of
elements a key names one, e.g. ``claim.E1.held``. What a run of a spec must show is in
:mod:`experiments.verdict.promises`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Condition = str | int | float

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}

#: Parts of keys that only a capture can tell of.
_CAPTURED = ("claim.", "wire_order.", "connections.spoke", "connections.silent")
#: The claim's own, of which there must have been a case.
_OF_CASES = ("claim.", "wire_order.")
_NO_CAPTURE = "nothing was captured (capture: false)"
_NO_CASE = "no connection that had moved sent a stray"
_TOO_FEW = "the cluster was too small for a plurality"
_LOSSY = "links lose segments (links.loss_percent)"
_NO_HASH = "it is not the hash alone that leads segments"
_NOTHING_COMPARED = "no segment came when it could be compared"


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation held against a summary."""

    key: str
    condition: Condition
    found: Any
    met: bool

    def __str__(self) -> str:
        word = "met" if self.met else "NOT met"
        return f"{self.key} {self.condition}: {word} (found {self.found})"


@dataclass(frozen=True)
class NotJudged:
    """One expectation that this run could neither meet nor miss, and why."""

    key: str
    condition: Condition
    why: str


@dataclass(frozen=True)
class Observability:
    """What a run can tell of, by its spec.

    ``captured``: segments were. ``hashed``: the hash alone leads them to nodes.
    ``lossy``: hosts' links lose some, resets before they are captured too. ``too_few``:
    elements of the claim for whose plurality the cluster was too small at some time.
    """

    captured: bool = True
    hashed: bool = True
    lossy: bool = False
    too_few: frozenset[str] = frozenset()


def judge(
    summary: Mapping[str, Any],
    conditions: Mapping[str, Condition],
    observability: Observability,
) -> tuple[list[ExpectationResult], list[NotJudged]]:
    """Each condition held against the summary, or why a run of that observability cannot be."""
    left = {
        key: why
        for key, condition in conditions.items()
        if (why := _why_not(summary, key, condition, observability))
    }
    judged = {key: one for key, one in conditions.items() if key not in left}
    others = [NotJudged(key, conditions[key], why) for key, why in left.items()]
    return check(summary, judged), others


def check(
    summary: Mapping[str, Any], conditions: Mapping[str, Condition]
) -> list[ExpectationResult]:
    """Each condition held against the summary; a key that it lacks is not met."""
    return [
        _check_one(summary, key, condition) for key, condition in conditions.items()
    ]


def look_up(summary: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = summary
    for key in dotted.split("."):
        if isinstance(value, list):
            value = {one.get("element"): one for one in value if isinstance(one, dict)}
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _why_not(
    summary: Mapping[str, Any],
    key: str,
    condition: Condition,
    observability: Observability,
) -> str | None:
    """Why that expectation cannot be judged; None where it can."""
    arrivals = key == "measurement.arrivals_not_as_predicted"
    if arrivals and not observability.hashed:
        return _NO_HASH
    if not observability.captured and (
        arrivals or _mentions(key, condition, _CAPTURED)
    ):
        return _NO_CAPTURE
    if arrivals and not look_up(summary, "measurement.arrivals_compared"):
        return _NOTHING_COMPARED
    if observability.lossy and key.startswith(_OF_CASES):
        return _LOSSY
    if any(key.startswith(f"claim.{element}.") for element in observability.too_few):
        return _TOO_FEW
    cases = _value(summary, "connections.spoke - connections.unfinished")
    if cases == 0 and key.startswith(_OF_CASES):
        return _NO_CASE
    return None


def _mentions(key: str, condition: Condition, parts: tuple[str, ...]) -> bool:
    text = f"{key} {condition}"
    return any(part in text for part in parts)


def _check_one(
    summary: Mapping[str, Any], key: str, condition: Condition
) -> ExpectationResult:
    found = look_up(summary, key)
    symbol, wanted = _parse(condition)
    if isinstance(wanted, str) and (value := _value(summary, wanted)) is not None:
        wanted = value
    try:
        met = found is not None and _OPERATORS[symbol](found, wanted)
    except TypeError:
        met = False
    return ExpectationResult(key, condition, found, met)


def _value(summary: Mapping[str, Any], text: str) -> Any:
    """What a key, or a sum of keys, comes to; None where one of them is not there."""
    first, *rest = re.split(r" ([+-]) ", text)
    value = look_up(summary, first)
    for sign, key in zip(rest[::2], rest[1::2], strict=True):
        term = look_up(summary, key)
        if value is None or term is None:
            return None
        value = value + term if sign == "+" else value - term
    return value


def _parse(condition: Condition) -> tuple[str, Condition]:
    """Operator and right-hand side; a bare value means equality."""
    if not isinstance(condition, str):
        return "==", condition
    symbol, _, rest = condition.strip().partition(" ")
    if symbol not in _OPERATORS:
        return "==", condition
    try:
        return symbol, float(rest)
    except ValueError:
        return symbol, rest.strip()
