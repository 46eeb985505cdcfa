"""The reset protocol holds in every state of its model, and each check is needed.

``RESETBED_MODEL=deep``: the same with larger bounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import product
from pathlib import Path

import pytest

from experiments.healing import schedule
from nodes.guard import verdict
from nodes.guard.verdict import Fit, FlowInfo, Kind, Mode, Numbers, Source, Status
from tests.model import guard_table
from tests.model.spin_search import MODEL, Found, Question, need_tools, search

DEEP = os.environ.get("RESETBED_MODEL") == "deep"

SAFETY = Question("safety", "safety.pml", deeper=("CHANGES=4",))
COST = Question("cost", "cost.pml", deeper=("WORDS=5",))
_LONGER = ("CHANGES=4", "WORDS=4")
ANY_LOSS = Question("any loss", "freed.pml", (), _LONGER, endless=True)
FEW_LOSSES = Question(
    "few losses", "freed.pml", ("FEW_LOSSES",), (*_LONGER, "LOSSES=4"), endless=True
)
COPIES_ALONE = Question("copies alone", "freed.pml", ("ALONE",), _LONGER, endless=True)

#: What is taken away, where, and the property that does not hold then.
CHECKS = (
    (SAFETY, "NO_FIT_SENT", "a"),
    (SAFETY, "NO_FIT_NEAR", "a"),
    (SAFETY, "NO_EXACT", "a"),
    (SAFETY, "NO_EMBRYONIC", "a"),
    (SAFETY, "NO_SYN_FORGETS", "a"),
    (SAFETY, "NO_COOKIE", "a"),
    (COST, "NO_MARK", "b"),
    (COST, "NO_ANSWERED", "b"),
    (COST, "NO_FANNED_OUT", "b"),
    (COST, "NO_RELAYED", "b"),
    (COST, "NO_FREED", "b"),
    (COST, "NO_BUDGET", "b"),
    (ANY_LOSS, "NO_HEAL", "c"),
    (ANY_LOSS, "NO_DEADLINE", "c"),
    (ANY_LOSS, "NO_RETURN", "c"),
    (FEW_LOSSES, "NO_PROBE", "c"),
    (FEW_LOSSES, "NO_RELAY", "c"),
    (COPIES_ALONE, "NO_COPIES", "c"),
    (SAFETY, "NO_HELD", "d"),
    (SAFETY, "NO_ABORTED", "d"),
    (SAFETY, "NO_AMEND", "d"),
)
ASSUMPTIONS = (
    (SAFETY, "BOTH_NEAR", "a"),
    (SAFETY, "SLOW_HANDSHAKE", "d"),
    (ANY_LOSS, "LATE_FRAMES", "c"),
)
#: Switches that are part of a question, or bounds.
_OTHERS = {"ALONE", "FEW_LOSSES", "CHANGES", "LOSSES", "WORDS"}

#: A name of the product in a comment: module and name, perhaps a field.
_NAMED = re.compile(r"\b(verdict|schedule|Status|Action)\.(?!py\b)(\w+)(?:\.(\w+))?")


@pytest.mark.parametrize(
    "question",
    (SAFETY, COST, ANY_LOSS, FEW_LOSSES, COPIES_ALONE),
    ids=lambda question: question.name,
)
def test_the_protocol_holds_in_every_state(question: Question, tmp_path: Path) -> None:
    deeper, optimise = (question.deeper, "-O2") if DEEP else ((), "-O0")
    found = _search(tmp_path, question, *deeper, optimise=optimise)
    print(found.output)
    assert (found.errors, found.complete) == (0, True), found.output
    assert found.states > 100, "the model does nothing"


@pytest.mark.parametrize(
    ("question", "switch", "broken"),
    (*CHECKS, *ASSUMPTIONS),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_it_a_property_breaks(
    question: Question, switch: str, broken: str, tmp_path: Path
) -> None:
    found = _search(tmp_path, question, switch)
    assert (found.errors, found.broken) == (1, broken), found.output


def test_a_rule_less_in_the_product_breaks_a_property(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [rule for rule in verdict.INGRESS if rule.status is not Status.ANSWERED]
    assert len(rules) == len(verdict.INGRESS) - 1
    monkeypatch.setattr(guard_table, "INGRESS", tuple(rules))
    assert _search(tmp_path, COST).broken == "b"


def test_a_weaker_fit_in_the_product_breaks_a_property(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_table, "fit_of_relayed", lambda *_: Fit.FITS)
    assert _search(tmp_path, SAFETY).broken == "a"


def test_each_switch_of_the_model_is_tried() -> None:
    directive = re.compile(r"^#(?:ifn?def|if)\b(.*)", re.M)
    code = (re.sub(r"/\*.*?\*/", "", text, flags=re.S) for text in _sources())
    asked = (part for text in code for part in directive.findall(text))
    names = {name for part in asked for name in re.findall(r"[A-Z][A-Z_]+", part)}
    assert names == {switch for _, switch, _ in (*CHECKS, *ASSUMPTIONS)} | _OTHERS


def test_what_the_model_names_is_there() -> None:
    named = {found for text in _sources() for found in _NAMED.findall(text)}
    assert len(named) > 10
    places = {
        "verdict": verdict,
        "schedule": schedule,
        "Status": Status,
        "Action": verdict.Action,
    }
    missing = [
        ".".join(filter(None, (place, name, part)))
        for place, name, part in sorted(named)
        if not hasattr(places[place], name)
        or (part and part not in _parts(getattr(places[place], name)))
    ]
    assert missing == []


def test_the_table_in_promela_is_that_of_the_guard() -> None:
    kinds: tuple[type[Enum], ...] = (Kind, Status, Fit)
    names = {one.name: one for kind in kinds for one in kind}
    # Status.RELAYED and Source.RELAYED have other names there.
    names |= {f"SOURCE_{source.name}": source for source in Source}
    rows = [
        (re.sub(r"!limited", "not limited", condition.replace("&&", "and")), name)
        for condition, name in guard_table.ingress_rows()
    ]
    for source, kind, status, fit, limited in product(
        Source, Kind, Status, Fit, (False, True)
    ):
        here = {
            **names,
            "source": source,
            "kind": kind,
            "status": status,
            "fit": fit,
            "limited": limited,
        }
        there = next(name for condition, name in rows if eval(condition, here))
        segment = guard_table.segment_of(kind, source)
        asked = verdict.judge_ingress(
            segment,
            FlowInfo(status, _numbers(source, fit)),
            Mode.ANSWER,
            healing=True,
            limited=limited,
        )
        assert there == guard_table.name_of(asked), (source, kind, status, fit, limited)


def _numbers(source: Source, fit: Fit) -> Numbers | None:
    """Numbers that a segment of :func:`guard_table.segment_of` fits, or does not."""
    if fit is Fit.UNSURE:
        return None
    if fit is Fit.MISFITS:
        return Numbers(1000, 1000, 1 << 30)
    return Numbers(1, 1, 2) if source is Source.COPY else Numbers(2, 2, 1)


def _parts(thing: object) -> set[str]:
    if is_dataclass(thing):
        return {field.name for field in fields(thing)}
    return set(dir(thing))


def _sources() -> Iterator[str]:
    return (path.read_text("utf-8") for path in MODEL.glob("*.pml"))


def _search(
    folder: Path, question: Question, *switches: str, optimise: str = "-O0"
) -> Found:
    need_tools()
    return search(folder, question, guard_table.guard_table(), switches, optimise)
