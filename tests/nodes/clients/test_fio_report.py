"""fio's JSON: the last document counts, and every acknowledged write has one fate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.clients.fio_report import (
    EILSEQ,
    FioReportError,
    JobResult,
    count_writes,
    figures_of,
    job_results,
    last_document,
    quantile_ms,
    write_output,
)
from nodes.kernel.netns_sockets import has_established

BLOCK = 4096


def document(writes: int, reads: int, error: int = 0, wrong: int = 0) -> dict[str, Any]:
    """As fio 3.33 writes it, as far as it is read here."""
    return {
        "fio version": "fio-3.33",
        "jobs": [
            {
                "error": error,
                "job_runtime": 2000,
                "total_err": wrong,
                "first_error": EILSEQ if wrong else 0,
                "read": {"io_bytes": reads * BLOCK, "clat_ns": {}},
                "write": {
                    "io_bytes": writes * BLOCK,
                    "clat_ns": {"bins": {"80000": writes - 1, "2000000": 1}},
                },
            }
        ],
    }


def result(writes: int, reads: int, wrong: int = 0, failed: bool = False) -> JobResult:
    """A job with no latencies."""
    return JobResult(writes, reads, wrong, failed, 1000, {})


def test_the_last_whole_document_counts() -> None:
    first, second = document(3, 3), document(5, 4)
    text = f"\n{json.dumps(first)}\n\nfio: terminating on signal 15\n"
    assert last_document(text + json.dumps(second) + "\n") == second
    assert last_document(text + json.dumps(second)[:-9]) == first


@pytest.mark.parametrize("text", ["", "fio: io engine nbd init failed.\n", '{"jobs'])
def test_no_document_is_none(text: str) -> None:
    assert last_document(text) is None


def test_a_job_that_lost_its_connection_failed_and_lost_no_data() -> None:
    (lost,) = job_results(document(5, 4, error=2**32 - 1), BLOCK)
    assert (lost.writes, lost.reads, lost.mismatched, lost.failed) == (5, 4, 0, True)


def test_a_job_that_read_a_wrong_block_lost_data_and_did_not_fail() -> None:
    (wrong,) = job_results(document(5, 5, error=EILSEQ, wrong=2), BLOCK)
    assert (wrong.mismatched, wrong.failed) == (2, False)


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(FioReportError, match="'jobs'"):
        job_results({}, BLOCK)


def test_a_write_that_was_not_read_back_is_verified_by_the_last_look() -> None:
    runs = [result(10, 9, failed=True), result(4, 4)]
    counts = count_writes(runs, result(0, 8))
    assert (counts.verified, counts.lost, counts.unverified) == (14, 0, 0)
    counts = count_writes(runs, None)
    assert (counts.verified, counts.lost, counts.unverified) == (13, 0, 1)


def test_a_wrong_block_is_a_lost_write_whenever_it_is_seen() -> None:
    assert count_writes([result(10, 10, wrong=2)], result(0, 8)).lost == 2
    assert count_writes([result(10, 10)], result(0, 8, wrong=3)).lost == 3


@given(
    st.lists(
        st.builds(
            result,
            writes=st.integers(0, 99),
            reads=st.integers(0, 99),
            wrong=st.integers(0, 99),
            failed=st.booleans(),
        )
    ),
    st.none() | st.builds(result, st.just(0), st.just(8), st.integers(0, 8)),
)
def test_every_acknowledged_write_has_one_outcome(
    runs: list[JobResult], look: JobResult | None
) -> None:
    counts = count_writes(runs, look)
    assert min(counts.verified, counts.lost, counts.unverified) >= 0
    total = counts.verified + counts.lost + counts.unverified
    assert total == sum(run.writes for run in runs)


def test_figures_of_two_hosts_leave_the_last_look_out(tmp_path: Path) -> None:
    for name, error in (("h1", 0), ("h2", 2**32 - 1)):
        look: dict[str, Any] = {"look": True, "fio": document(9, 9)}
        jobs = [{"conn": 0, "fio": document(50, 50, error)}, look]
        write_output(tmp_path / f"{name}-fio.json", BLOCK, jobs)
    figures = figures_of(sorted(tmp_path.iterdir()))
    assert (figures["jobs"], figures["errors"], figures["writes"]) == (2, 1, 100)
    assert figures["iops"] == 50.0
    assert figures["write_latency_ms"] == {"p50": 0.08, "p99": 2.0, "max": 2.0}


def test_a_quantile_is_the_nearest_rank() -> None:
    assert quantile_ms({1_000_000: 99, 5_000_000: 1}, 0.99) == 1.0
    assert quantile_ms({}, 0.5) is None


#: proc(5): 127.0.0.1:30000 > 127.0.0.1:10809 in TIME_WAIT, and from 30001 ESTABLISHED.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:7530 0100007F:2A39 06 00000000:00000000 00:00000000 00000000
   1: 0100007F:7531 0100007F:2A39 01 00000000:00000000 00:00000000 00000000
"""


@pytest.mark.parametrize(
    ("port", "peer_port", "there"),
    [(30001, 10809, True), (30000, 10809, False), (10809, 30001, False)],
)
def test_only_an_open_connection_from_that_port_counts(
    port: int, peer_port: int, there: bool
) -> None:
    assert has_established(TABLE, port, peer_port) is there
