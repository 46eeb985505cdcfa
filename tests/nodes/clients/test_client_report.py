"""The report of a client: the reader returns what the writer has written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from nodes.clients.client_report import (
    ReportError,
    ReportWriter,
    ServerClosed,
    Summary,
    parse_report,
)


def report_of(written: io.StringIO, tmp_path: Path, tail: str = "") -> Path:
    """A file with the written report, and ``tail``."""
    path = tmp_path / "report"
    path.write_text(written.getvalue() + tail)
    return path


def test_a_run_with_a_reset_reads_back(tmp_path: Path) -> None:
    out = io.StringIO()
    writer = ReportWriter(out, 2)
    writer.established(1, 30001)
    writer.established(0, 30000)
    writer.broken(1, ConnectionResetError())
    writer.established(1, 30003)
    writer.summary.acknowledged_writes = writer.summary.verified_writes = 5
    assert writer.finish() == 0

    report = parse_report(report_of(out, tmp_path))
    assert [e.kind for e in report.events] == [
        "ready",
        "reset",
        "reconnected",
        "summary",
    ]
    assert report.ports == (30000, 30001)
    (reset,) = report.of_kind("reset")
    assert (reset.conn, reset.port) == (1, 30001)
    (again,) = report.of_kind("reconnected")
    assert (again.port, again.fields["old_port"]) == (30003, 30001)
    assert report.summary == Summary(
        opened=2, resets=1, reconnected=1, acknowledged_writes=5, verified_writes=5
    )


@pytest.mark.parametrize(
    ("error", "kind", "counter"),
    [
        pytest.param(ConnectionResetError(), "reset", "resets", id="reset"),
        pytest.param(ServerClosed(), "closed", "closed", id="closed"),
        pytest.param(TimeoutError(), "error", "errors", id="timed-out"),
        pytest.param(ConnectionAbortedError(), "error", "errors", id="aborted-here"),
    ],
)
def test_kinds_of_broken_connections_are_distinguished(
    error: OSError, kind: str, counter: str
) -> None:
    out = io.StringIO()
    report = ReportWriter(out, 1)
    report.established(0, 30000)
    report.broken(0, error)
    assert json.loads(out.getvalue().splitlines()[-1])["event"] == kind
    counts = Summary(opened=1)
    setattr(counts, counter, 1)
    assert report.summary == counts


def test_a_connection_that_rested_is_reopened_and_not_reconnected() -> None:
    out = io.StringIO()
    report = ReportWriter(out, 1)
    report.established(0, 30000)
    report.rested(0)
    report.established(0, 30001)
    kinds = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert kinds == ["ready", "rested", "reopened"]
    assert report.summary == Summary(opened=1, reopened=1)


def test_not_ready_until_every_connection_was_open() -> None:
    out = io.StringIO()
    report = ReportWriter(out, 2)
    report.established(0, 30000)
    report.broken(0, ConnectionResetError())
    report.established(0, 30002)
    assert '"ready"' not in out.getvalue()
    report.established(1, 30001)
    assert '"ports": [30002, 30001]' in out.getvalue()


def test_a_lost_write_is_exit_status_1() -> None:
    report = ReportWriter(io.StringIO(), 1)
    report.summary.lost_writes = 1
    assert report.finish() == 1


def test_an_unfinished_last_line_is_left_out(tmp_path: Path) -> None:
    out = io.StringIO()
    ReportWriter(out, 1).established(0, 30000)
    report = parse_report(report_of(out, tmp_path, '{"t": 1.5, "eve'))
    assert (len(report.events), report.summary) == (1, None)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("hello", id="no-json"),
        pytest.param('["t", "event"]', id="no-object"),
        pytest.param('{"event": "reset"}', id="no-time"),
        pytest.param('{"t": 1.5}', id="no-event"),
        pytest.param('{"t": 1.5, "event": "summary"}', id="empty-summary"),
    ],
)
def test_anything_else_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    out = io.StringIO()
    ReportWriter(out, 1).established(0, 30000)
    with pytest.raises(ReportError, match="report:2: "):
        parse_report(report_of(out, tmp_path, line + "\n"))


def test_a_missing_report_is_an_empty_one(tmp_path: Path) -> None:
    report = parse_report(report_of(io.StringIO(), tmp_path))
    assert (report.events, report.ports, report.summary) == ((), (), None)


def test_how_many_are_open_is_told_once_a_second(tmp_path: Path) -> None:
    seconds, path = iter([0.0, 0.4, 1.0, 1.0, 1.5, 2.1, 2.1]), tmp_path / "report"
    with path.open("w") as out:
        writer = ReportWriter(out, 5, now=lambda: next(seconds))
        told = []
        for conn in range(5):
            writer.established(conn, 30000 + conn)
            told.append(parse_report(path).opened)
    assert told == [0, 2, 2, 4, 5]
    assert [one.kind for one in parse_report(path).events] == [
        *("opening", "opening", "ready")
    ]
