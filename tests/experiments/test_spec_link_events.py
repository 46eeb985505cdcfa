"""Events of a spec that change links: from the YAML to the run, the prediction, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments.commands.cli import main
from experiments.doctor import link_requirements
from experiments.machine.machine import missing, present
from experiments.model.model_spec import ModelSpec
from experiments.prediction.predict import predict
from experiments.record.record_file import read_record
from experiments.results.judge import judge_folder
from experiments.results.run_folder import RunFolder
from experiments.spec.run_spec import RunSpec
from experiments.spec.spec_file import SpecError, find_spec, load_spec
from experiments.verdict.promises import all_connections_speak, expected
from tests.experiments.golden_runs import GoldenRun
from topologies import sandbox
from topologies.domain.link_options import LinkOptions

DRAIN = {"at": 1, "kind": "drain-node", "target": "c1n2"}
SLOW = {"at": 0.5, "kind": "link", "target": "c1n1", "delay_ms": 5, "loss_percent": 1}
BACK = {"at": 1.5, "kind": "link", "target": "c1n1"}
KEYS = ("rate_mbit", "delay_ms", "loss_percent")
values = st.none() | st.floats(0.001, 99)


def spec(*events: dict[str, Any], **more: Any) -> RunSpec:
    return RunSpec.model_validate({"events": events, **more})


@given(links=st.tuples(*[values] * 3), named=st.tuples(*[values] * 3))
def test_what_an_event_does_not_name_is_as_in_links(
    links: Sequence[float | None], named: Sequence[float | None]
) -> None:
    given = {k: v for k, v in zip(KEYS, named, strict=True) if v is not None}
    event = {"kind": "link", "target": "h1", **given}
    one = spec(event, links=dict(zip(KEYS, links, strict=True)))
    ((found, target),) = one.requests(one.events)
    usual = zip(KEYS, links, named, strict=True)
    assert target == "h1"
    assert found.link == LinkOptions(
        **{key: old if new is None else new for key, old, new in usual}
    )
    assert one.all_links() == (one.links.options, found.link)


def test_a_link_without_options_recovers_and_with_zero_is_not_slow() -> None:
    zero = {**BACK, "at": 2, "delay_ms": 0}
    one = spec(SLOW, BACK, zero, links={"delay_ms": 2})
    delays = [
        event.link and event.link.delay_ms for event, _ in one.requests(one.events)
    ]
    assert delays == [5, 2, 0]


def test_the_resolved_spec_is_the_same_and_names_no_option_of_other_events() -> None:
    one = spec(SLOW, DRAIN, BACK)
    dumped = one.model_dump(mode="json")
    assert dumped["events"] == [SLOW, DRAIN, BACK]
    assert RunSpec.model_validate(yaml.safe_load(yaml.safe_dump(dumped))) == one


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("events=[{kind: drain-node, target: c1n2, delay_ms: 4}]", "only kind: link"),
        ("events=[{kind: link, target: c1}]", "events.0: link: no host 'c1'"),
        ("events=[{kind: link, target: c1n4}]", "no host 'c1n4'"),
        ("events.0.loss_percent=100", "below 100, else nothing arrives"),
        ("events.0.rate_mbit=0", "rate_mbit: must be above 0"),
        ("events.2.at=0", "must be in the order"),
        ("events.0.delay=4", "did you mean 'delay_ms'"),
        ("events.0.kind=lnk", "uplink-up, reseed, link"),
    ],
)
def test_an_impossible_change_names_its_key_and_the_remedy(
    item: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec(find_spec("link-degrades"), [item])


def test_a_host_that_an_event_adds_has_a_link() -> None:
    add = {"at": 0, "kind": "add-node", "target": "c1"}
    assert spec(add, {**SLOW, "target": "c1n4"}).events[1].target == "c1n4"


def test_set_reaches_the_options_of_an_event() -> None:
    changed = load_spec(find_spec("link-degrades"), ["events.0.delay_ms=40"])
    assert changed.events[0].options == {"delay_ms": 40, "loss_percent": 1}


def test_it_moves_nothing_and_is_a_step_of_the_prediction() -> None:
    alone, among = predict(spec(DRAIN)), predict(spec(SLOW, DRAIN, BACK))
    assert [among.moved(number) for number in range(3)] == [0, alone.moved(0), 0]
    assert among.owners[-1] == alone.owners[-1]
    assert among.states[1] is among.states[0]
    assert among.states[-1] == alone.states[-1]  # also its history and its number
    moves = [{"moved": 0}, {"moved": alone.moved(0)}, {"moved": 0}]
    assert among.to_json()["events"] == [
        {**event, **moved}
        for event, moved in zip((SLOW, DRAIN, BACK), moves, strict=True)
    ]


@pytest.mark.parametrize("policy", ["flood", "second-chance", "stateful", "jet"])
def test_it_breaks_no_promise(policy: str) -> None:
    """Not one of planned events, of a limited history, nor of the only added member."""
    for event in (DRAIN, {**DRAIN, "kind": "add-node", "target": "c1"}):
        links = [{**SLOW, "at": 1}] + [{**SLOW, "at": 2 + n} for n in range(9)]
        alone, among = spec(event, policy=policy), spec(event, *links, policy=policy)
        assert expected(among) == expected(alone)


def test_its_delay_is_time_in_which_nobody_speaks() -> None:
    long = {**SLOW, "delay_ms": 2000}
    assert all_connections_speak(spec(SLOW, observe_s=4))
    assert not all_connections_speak(spec(long, observe_s=4))


def test_the_model_computes_what_links_leave_alone() -> None:
    one = ModelSpec.model_validate({"events": [SLOW, DRAIN, BACK]})
    first, second, third = one.changes().changes
    assert (first.tables, third.tables) == ({}, {})
    assert second.tables
    assert first.label == "link c1n1 (5 ms, 1 % lost)"


@pytest.mark.parametrize(
    ("named", "kind"), [("delay_ms: 5", "netem"), ("rate_mbit: 5", "tbf")]
)
def test_a_run_is_refused_for_what_only_an_event_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, kind: str
) -> None:
    """Before anything is built, and before a sweep's first run."""

    def found(kinds: tuple[str, ...]) -> dict[str, Any]:
        assert kinds == (kind,)
        return {f"sch_{kind}": missing("kind is unknown"), "sch_x": present("tried")}

    def entered(*_args: Any, **_kwargs: Any) -> int:
        pytest.fail("a sandbox was entered")

    monkeypatch.setattr(link_requirements, "_found", found)
    monkeypatch.setattr(sandbox, "enter", entered)
    events = f"events: [{{kind: link, target: h1, {named}}}]"
    (tmp_path / "run.yaml").write_text(events)
    (tmp_path / "sweep.yaml").write_text(f"base: {{{events}}}\nfactors: {{ip: [4]}}")
    for command in ("run", "sweep"):
        words = command, str(tmp_path / f"{command}.yaml"), "--out", str(tmp_path / "o")
        done = CliRunner().invoke(main, [*words])
        assert done.exit_code == 3, done.output
        assert f"sch_{kind}" in done.output
        assert not (tmp_path / "o").exists()


def test_a_run_with_link_events_is_read_as_it_was(tmp_path: Path) -> None:
    """The golden record, whose first event moves nothing and whose link loses segments."""
    GoldenRun.load("link-degrades").write(tmp_path)
    summary = judge_folder(tmp_path)
    folder = RunFolder.read(tmp_path)
    assert folder.states == tuple(folder.spec.states())
    assert folder.states[1] is folder.states[0]
    first_drain, after_it = folder.summary["events"][1], folder.summary["events"][3]
    assert folder.moved_first() == {
        row["connection"]
        for row in folder.connections
        if row["moved"]
        and row["opened_s"] < first_drain["requested_s"]
        and row["moved_s"] < after_it["requested_s"]
    }
    assert folder.moved_first()
    assert {one["why"] for one in summary["not_judged"]} == {
        "links lose segments (loss_percent)"
    }
    records = read_record(tmp_path).events
    assert [one.link for one in records] == [
        LinkOptions(delay_ms=20, loss_percent=1),
        None,
        LinkOptions(),
        None,
    ]
    assert [one.to_json() for one in records] == summary["events"]
    resets = [row for row in folder.connections if row["first_stray_at"] == "c1n1"]
    recovered_s = folder.summary["events"][2]["requested_s"]
    late = [r["reset_latency_ms"] for r in resets if r["reset_s"] < recovered_s]
    soon = [r["reset_latency_ms"] for r in resets if r["first_stray_s"] > recovered_s]
    assert min(late) >= 20 > max(soon)
