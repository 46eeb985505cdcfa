"""What fio's own JSON says: the last of its documents, writes by fate, main figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: fio's ``error`` where a block is not what was written (errno(3)).
EILSEQ = 84
#: Of latencies, in summaries.
QUANTILES = {"p50": 0.5, "p99": 0.99}
_NS_PER_MS = 1e6


class FioReportError(ValueError):
    """fio's output is not what fio 3 writes; the message says which part."""


def last_document(text: str) -> dict[str, Any] | None:
    """The last whole JSON document of an output; None where there is none yet.

    With ``--status-interval`` fio writes one after the other, and remarks between them;
    one that was killed leaves the last one unfinished.
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
    """One job of a document: ``writes`` and ``reads`` completed, wrong blocks found.

    ``latency_ns`` are the writes, by completion latency as fio's histogram has it;
    ``runtime_ms``: how long it worked, its pauses included.
    """

    writes: int
    reads: int
    wrong: int
    failed: bool
    runtime_ms: int
    latency_ns: Mapping[int, int]


def job_results(document: Mapping[str, Any], block_size: int) -> list[JobResult]:
    """Every job of a document of format ``json+``; blocks of ``block_size`` bytes.

    Raises :class:`FioReportError`.
    """
    try:
        return [_job(job, block_size) for job in document["jobs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FioReportError(f"not a report of fio's: {error!r}") from error


def _job(job: Mapping[str, Any], block_size: int) -> JobResult:
    write, error = job["write"], int(job["error"])
    wrong = int(job["total_err"]) if int(job["first_error"] or error) == EILSEQ else 0
    return JobResult(
        writes=int(write["io_bytes"]) // block_size,
        reads=int(job["read"]["io_bytes"]) // block_size,
        wrong=wrong,
        failed=error not in (0, EILSEQ),
        runtime_ms=int(job["job_runtime"]),
        latency_ns={int(k): int(n) for k, n in write["clat_ns"]["bins"].items()}
        if write["io_bytes"]
        else {},
    )


@dataclass(frozen=True)
class Fates:
    """Writes of one connection: acknowledged = verified + lost + unverified."""

    verified: int
    lost: int
    unverified: int


def write_fates(runs: Iterable[JobResult], look: JobResult | None) -> Fates:
    """The writes of the fios that one connection had, one after the other.

    Each reads a write back before the next one (``verify_backlog=1``); ``look`` reads
    every written block once more in the end, None: nobody could. A write that its fio
    did not live to read back is verified by that look alone.
    """
    verified = lost = unread = 0
    for run in runs:
        read = min(run.reads, run.writes)
        wrong = min(run.wrong, read)
        verified, lost = verified + read - wrong, lost + wrong
        unread += run.writes - read
    if look is None or look.failed:
        return Fates(verified, lost, unread)
    gone = min(look.wrong, verified + unread)
    return Fates(verified + unread - gone, lost + gone, 0)


def figures(results: Sequence[JobResult], connections: int) -> dict[str, Any]:
    """Main figures of the jobs that so many connections had: latency in ms, failed jobs.

    ``iops``: writes a second of all connections together, while their jobs worked.
    """
    latencies: Counter[int] = Counter()
    for result in results:
        latencies.update(result.latency_ns)
    writes = sum(result.writes for result in results)
    worked_s = sum(result.runtime_ms for result in results) / 1000
    return {
        "jobs": len(results),
        "errors": sum(result.failed for result in results),
        "wrong_blocks": sum(result.wrong for result in results),
        "writes": writes,
        "iops": round(writes * connections / worked_s, 3) if worked_s else None,
        "write_latency_ms": {
            **{name: quantile_ms(latencies, q) for name, q in QUANTILES.items()},
            "max": max(latencies) / _NS_PER_MS if latencies else None,
        },
    }


def write_output(
    path: Path, block_size: int, jobs: Sequence[Mapping[str, Any]]
) -> None:
    """Keep what one host's fios said: each job's own document, under ``fio``.

    Beside it, ``conn`` is the number of the connection; or ``look``: the last look.
    """
    said = {"block_size": block_size, "jobs": jobs}
    path.write_text(json.dumps(said) + "\n")


def figures_of(paths: Iterable[Path]) -> dict[str, Any]:
    """:func:`figures` of the outputs of several hosts, which worked side by side.

    Raises :class:`FioReportError` and ``OSError``.
    """
    results: list[JobResult] = []
    connections: set[tuple[Path, int]] = set()
    for path in paths:
        said = json.loads(path.read_text())
        for job in said["jobs"]:
            if not job.get("look"):
                connections.add((path, job["conn"]))
                results += job_results(job["fio"], said["block_size"])
    return figures(results, len(connections))


def quantile_ms(histogram: Mapping[int, int], quantile: float) -> float | None:
    """The nearest-rank quantile of a histogram (ns: count), in ms; None: it is empty."""
    rank = quantile * sum(histogram.values())
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= rank:
            return value / _NS_PER_MS
    return None
