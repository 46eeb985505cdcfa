"""Reads fio's JSON output: its last document, counts of writes, main figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: fio's ``error`` if a block differs from what was written (errno(3)).
EILSEQ = 84
#: Quantiles of latencies in summaries.
QUANTILES = {"p50": 0.5, "p99": 0.99}
_NS_PER_MS = 1e6


class FioReportError(ValueError):
    """The output is not in the format of fio 3. The message says which part."""


def last_document(text: str) -> dict[str, Any] | None:
    """The last complete JSON document of an output; None if there is none.

    With ``--status-interval`` fio writes several documents with other text in between. If
    fio was killed, the last one is incomplete.
    """
    decoder, found = json.JSONDecoder(), None
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            break
        at = text.find("{", end)
    return found


@dataclass(frozen=True)
class JobResult:
    """One job of a document: completed ``writes`` and ``reads``, mismatched blocks.

    ``latency_ns``: fio's histogram of the writes' completion latency. ``runtime_ms``: the
    run time of the job, with its pauses.
    """

    writes: int
    reads: int
    mismatched: int
    failed: bool
    runtime_ms: int
    latency_ns: Mapping[int, int]


def job_results(document: Mapping[str, Any], block_size: int) -> list[JobResult]:
    """All jobs of a document of format ``json+``, with blocks of ``block_size`` bytes.

    Raises :class:`FioReportError`.
    """
    try:
        return [_job(job, block_size) for job in document["jobs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FioReportError(f"not a report of fio: {error!r}") from error


def _job(job: Mapping[str, Any], block_size: int) -> JobResult:
    write, error = job["write"], int(job["error"])
    mismatched = (
        int(job["total_err"]) if int(job["first_error"] or error) == EILSEQ else 0
    )
    return JobResult(
        writes=int(write["io_bytes"]) // block_size,
        reads=int(job["read"]["io_bytes"]) // block_size,
        mismatched=mismatched,
        failed=error not in (0, EILSEQ),
        runtime_ms=int(job["job_runtime"]),
        latency_ns={int(k): int(n) for k, n in write["clat_ns"]["bins"].items()}
        if write["io_bytes"]
        else {},
    )


@dataclass(frozen=True)
class WriteCounts:
    """Writes of one connection: acknowledged = verified + lost + unverified."""

    verified: int
    lost: int
    unverified: int


def count_writes(
    runs: Iterable[JobResult], verification: JobResult | None
) -> WriteCounts:
    """Counts the writes of all fio processes of one connection.

    Each process reads a block back before it writes the next (``verify_backlog=1``). At the
    end ``verification`` reads every written block; None: it did not run. A write that its
    process did not read back is verified by that alone.
    """
    verified = lost = unread = 0
    for run in runs:
        read = min(run.reads, run.writes)
        mismatched = min(run.mismatched, read)
        verified, lost = verified + read - mismatched, lost + mismatched
        unread += run.writes - read
    if verification is None or verification.failed:
        return WriteCounts(verified, lost, unread)
    gone = min(verification.mismatched, verified + unread)
    return WriteCounts(verified + unread - gone, lost + gone, 0)


def figures(results: Sequence[JobResult], connections: int) -> dict[str, Any]:
    """Main figures of the jobs of that many connections: latency in ms, failed jobs.

    ``iops``: writes per second of all connections together, while their jobs ran.
    """
    latencies: Counter[int] = Counter()
    for result in results:
        latencies.update(result.latency_ns)
    writes = sum(result.writes for result in results)
    runtime_s = sum(result.runtime_ms for result in results) / 1000
    return {
        "jobs": len(results),
        "errors": sum(result.failed for result in results),
        "wrong_blocks": sum(result.mismatched for result in results),
        "writes": writes,
        "iops": round(writes * connections / runtime_s, 3) if runtime_s else None,
        "write_latency_ms": {
            **{name: quantile_ms(latencies, q) for name, q in QUANTILES.items()},
            "max": max(latencies) / _NS_PER_MS if latencies else None,
        },
    }


def write_output(
    path: Path, block_size: int, jobs: Sequence[Mapping[str, Any]]
) -> None:
    """Write the fio documents of one host, each under ``fio``.

    ``conn`` is the number of the connection; ``look`` marks the verification at the end.
    """
    data = {"block_size": block_size, "jobs": jobs}
    path.write_text(json.dumps(data) + "\n")


def figures_of(paths: Iterable[Path]) -> dict[str, Any]:
    """:func:`figures` of the outputs of several hosts, which worked side by side.

    Raises :class:`FioReportError` and ``OSError``.
    """
    results: list[JobResult] = []
    connections: set[tuple[Path, int]] = set()
    for path in paths:
        data = json.loads(path.read_text())
        for job in data["jobs"]:
            if not job.get("look"):
                connections.add((path, job["conn"]))
                results += job_results(job["fio"], data["block_size"])
    return figures(results, len(connections))


def quantile_ms(histogram: Mapping[int, int], quantile: float) -> float | None:
    """The nearest-rank quantile of a histogram (ns: count), in ms; None if it is empty."""
    rank = quantile * sum(histogram.values())
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= rank:
            return value / _NS_PER_MS
    return None
