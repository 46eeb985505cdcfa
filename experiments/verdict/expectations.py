"""Checks expectations against a summary, and names those that cannot be judged: pure.

An expectation is a dotted key of ``summary.json`` and a condition: a number or a text
(equal), or an operator and a number, another key, or a sum of keys, e.g. ``"> 0"``,
``"== connections.moved"`` or ``"== half_open.at_end + half_open.silent"``. In a list of
elements a key names one element, e.g. ``claim.E1.held``. The expectations of a spec are in
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

#: Parts of keys that need a capture.
_CAPTURED = ("claim.", "wire_order.", "connections.spoke", "connections.silent")
#: Starts of the claim's keys, which need a case.
_OF_CASES = ("claim.", "wire_order.")
_NO_CAPTURE = "nothing was captured (capture: false)"
_NO_CASE = "no moved connection sent a stray"
_TOO_FEW = "the cluster was too small for a plurality"
_LOSSY = "links lose segments (loss_percent)"
_NO_HASH = "the hash alone does not decide where segments go"
_NOTHING_COMPARED = "no segment arrived at a time when it could be compared"


@dataclass(frozen=True)
class ExpectationResult:
    """The result of one expectation: what the summary has, and whether it meets it."""

    key: str
    condition: Condition
    found: Any
    met: bool

    def __str__(self) -> str:
        word = "met" if self.met else "NOT met"
        return f"{self.key} {self.condition}: {word} (found {self.found})"


@dataclass(frozen=True)
class NotJudged:
    """One expectation that this run can neither meet nor miss, and why."""

    key: str
    condition: Condition
    why: str


@dataclass(frozen=True)
class Observability:
    """Which expectations a run can judge, by its spec.

    ``captured``: segments were captured. ``hashed``: the hash alone decides which node
    they reach. ``lossy``: hosts' links lose segments, also resets before their capture.
    ``too_few``: elements of the claim for whose plurality the cluster was too small at
    some time.
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
    """The result of each condition, and those that such a run cannot judge."""
    reasons = {
        key: why
        for key, condition in conditions.items()
        if (why := _why_not(summary, key, condition, observability))
    }
    judged = {key: one for key, one in conditions.items() if key not in reasons}
    others = [NotJudged(key, conditions[key], why) for key, why in reasons.items()]
    return check(summary, judged), others


def check(
    summary: Mapping[str, Any], conditions: Mapping[str, Condition]
) -> list[ExpectationResult]:
    """The result of each condition. A condition on a missing key is not met."""
    return [
        _check_one(summary, key, condition) for key, condition in conditions.items()
    ]


def look_up(summary: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted key; None if there is none."""
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
    """Why that expectation cannot be judged; None if it can."""
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
    symbol, expected = _parse(condition)
    if isinstance(expected, str) and (value := _value(summary, expected)) is not None:
        expected = value
    try:
        met = found is not None and _OPERATORS[symbol](found, expected)
    except TypeError:
        met = False
    return ExpectationResult(key, condition, found, met)


def _value(summary: Mapping[str, Any], text: str) -> Any:
    """The value of a key, or of a sum of keys; None if one of them is missing."""
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
