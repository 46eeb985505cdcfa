"""The harm of a run, from reports and looks that are written down here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.harm.harm import harm, longest_gap_s, moments, own_locks
from experiments.verdict.trust import LOCKS_UNSEEN_S, reasons
from nodes.clients.client_report import ClientReport, parse_report
from nodes.servers.lock_log import LockSample, read_lock_log

END_S = 10.0


def report(tmp_path: Path, *events: tuple[float, str, dict[str, Any]]) -> ClientReport:
    """The report with these lines."""
    path = tmp_path / "h1.jsonl"
    path.write_text(
        "".join(json.dumps({"t": t, "event": e, **f}) + "\n" for t, e, f in events)
    )
    return parse_report(path)


READY = (1.0, "ready", {"connections": 1, "ports": [5]})
ASKED = (1.1, "lock-asked", {"conn": 0, "port": 5})
GRANTED = (1.2, "lock-granted", {"conn": 0, "port": 5, "waited_ms": 100.0})
RESET = (2.0, "reset", {"conn": 0, "port": 5})
AGAIN = (2.5, "lock-asked", {"conn": 0, "port": 6})


def look(t: float, *holders: str, waiting: int = 0) -> LockSample:
    return LockSample(t, holders, holders, waiting)


def test_a_lock_is_nobodys_from_the_end_of_its_clients_connection(
    tmp_path: Path,
) -> None:
    reports = {"h1": report(tmp_path, READY, ASKED, GRANTED, RESET)}
    found = moments(reports, [look(1.5, "h1:5"), look(2.5, "h1:5", "h1:6")])
    assert [one.orphans for one in found] == [0, 1]
    assert [one.sessions for one in found] == [0, 1]


def test_a_client_waits_from_its_question_until_the_lock_is_there(
    tmp_path: Path,
) -> None:
    got = (2.75, "lock-granted", {"conn": 0, "port": 6, "waited_ms": 250.0})
    reports = {"h1": report(tmp_path, READY, ASKED, GRANTED, RESET, AGAIN, got)}
    looks = [look(t) for t in (1.15, 2.25, 2.5, 2.7, 2.75)]
    assert [one.waiting for one in moments(reports, looks)] == [0, 0, 1, 1, 0]


def test_another_host_with_the_same_port_is_another_client(tmp_path: Path) -> None:
    reports = {"h1": report(tmp_path, READY, RESET)}
    assert [m.orphans for m in moments(reports, [look(3.0, "h2:5")])] == [0]


def test_the_wait_is_that_of_a_client_that_had_the_lock_before(tmp_path: Path) -> None:
    got = (2.75, "lock-granted", {"conn": 0, "port": 6, "waited_ms": 250.0})
    first = report(tmp_path, READY, ASKED, GRANTED, RESET)
    assert own_locks(first, END_S) == [], "the first lock is no wait for one's own"
    waits = own_locks(report(tmp_path, READY, ASKED, GRANTED, RESET, AGAIN, got), END_S)
    assert waits == [(2.5, 2.75, True)]
    assert waits[0].ms == 250.0


def test_who_has_no_lock_at_the_end_still_waits(tmp_path: Path) -> None:
    late = (END_S + 1, "lock-granted", {"conn": 0, "port": 6, "waited_ms": 8500.0})
    for more in ((), (late,)):
        one = report(tmp_path, READY, ASKED, GRANTED, RESET, AGAIN, *more)
        assert own_locks(one, END_S) == [(2.5, END_S, False)]


def test_who_is_cut_off_while_it_waits_goes_on_waiting(tmp_path: Path) -> None:
    events = (
        (3.0, "lock-unmet", {"conn": 0, "port": 6, "waited_ms": 500.0}),
        (3.0, "reset", {"conn": 0, "port": 6}),
        (3.2, "lock-asked", {"conn": 0, "port": 7}),
        (3.5, "lock-granted", {"conn": 0, "port": 7, "waited_ms": 300.0}),
    )
    one = report(tmp_path, READY, ASKED, GRANTED, RESET, AGAIN, *events)
    assert own_locks(one, END_S) == [(2.5, 3.5, True)]


def test_the_figures_end_with_the_observation(tmp_path: Path) -> None:
    reports = {"h1": report(tmp_path, READY, ASKED, GRANTED, RESET, AGAIN)}
    looks = [look(3.0, "h1:5"), look(4.0, "h1:5"), look(END_S + 1, "h1:5", "h1:6")]
    figures = harm(reports, looks, END_S)
    assert figures["locks_of_nobody"] == {"peak": 1, "at_end": 1, "held_s": 1.0}
    assert figures["own_lock"]["still_waiting"] == 1
    assert figures["looks"] == 2


def test_a_refused_connection_counts_once_all_were_open(tmp_path: Path) -> None:
    failed = {"conn": 0, "port": 6, "reason": "no more connections allowed"}
    events = ((0.5, "error", failed), READY, (3.0, "error", failed))
    figures = harm({"h1": report(tmp_path, *events)}, [], END_S)
    assert figures["refused_connections"] == 1


def test_a_look_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = look(1.25, "h1:5", waiting=3)
    path = tmp_path / "locks.jsonl"
    path.write_text(one.to_json() + '{"t": 1')
    assert read_lock_log(path) == [one]
    assert read_lock_log(tmp_path / "none") == []


def test_a_time_without_a_look_is_found_wherever_it_is() -> None:
    looks = [look(t / 10) for t in range(101)]
    assert longest_gap_s([], 0.0, END_S) == END_S
    assert longest_gap_s(looks, 0.0, END_S) < 0.11
    for first, last in ((0, 30), (40, 70), (80, 101)):
        kept = looks[:first] + looks[last:]
        assert longest_gap_s(kept, 0.0, END_S) >= 2.0


def test_a_run_whose_locks_nobody_saw_cannot_be_trusted() -> None:
    """Without a look every figure of the harm would be a fine zero."""
    seen: dict[str, Any] = {"opened_by_kernel": 1, "captured": 1}
    for gap_s in (None, LOCKS_UNSEEN_S):
        assert reasons({**seen, "locks_unseen_s": gap_s}, opened=1) == []
    (why,) = reasons({**seen, "locks_unseen_s": 1.5}, opened=1)
    assert "1.5 s" in why
