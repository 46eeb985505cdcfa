"""One run as data frames: pure, from its folder.

Times are seconds: those that end in ``_s`` since 1970, as every clock of a run;
``after_s`` since the request of the first event (or since the clients were steady, where
there is none).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars

from experiments.analysis.observations import read_observations
from experiments.record.run_record import RunRecord
from experiments.record.socket_events import read_socket_events
from experiments.results.run_folder import RunFolder
from topologies.domain.connection import FourTuple, format_connection

_NS = 1e9
#: Keys of a summary that hold no figures of the run.
_NO_FIGURES = frozenset(
    (
        *("provenance", "events", "observation", "schema", "seed", "ip"),
        *("cluster", "links", "workload", "servers"),
    )
)


def zero_s(summary: Mapping[str, Any]) -> float:
    """The instant from which ``after_s`` counts, in seconds since 1970."""
    events = summary["events"]
    return float(
        events[0]["requested_s"] if events else summary["observation"]["steady_s"]
    )


def connections(folder: RunFolder) -> polars.DataFrame:
    """A row for each connection, with the columns of ``connections.jsonl``.

    ``half_open_ms``: how long its old owner kept it in vain; null if it was not half open.
    A lower bound where ``half_open_at_end``. ``after_s``: when its first stray was seen.
    """
    zero = zero_s(folder.summary)
    return _frame(
        {
            **{k: v for k, v in row.fields.items() if k != "half_open_s"},
            "half_open_ms": row.half_open.lifetime_ms if row.half_open else None,
            "after_s": _after(row.fields["first_stray_s"], zero),
        }
        for row in folder.rows
    )


def events(folder: RunFolder) -> polars.DataFrame:
    """A row for each event: kind, target, its instants; of a link what it was shaped to."""
    zero = zero_s(folder.summary)
    return _frame(
        {**event, "after_s": _after(event["requested_s"], zero)}
        for event in folder.summary["events"]
    )


def figures(summary: Mapping[str, Any]) -> polars.DataFrame:
    """``key`` and ``value`` of every number of ``summary.json``, in its order.

    The README explains the keys. What was not measured is left out.
    """
    rows = (
        {"key": key, "value": float(value)}
        for key, value in _flat("", {k: summary[k] for k in summary if _counts(k)})
    )
    return _frame(rows, {"key": polars.String, "value": polars.Float64})


def expectations(summary: Mapping[str, Any]) -> polars.DataFrame:
    """A row for each condition of the policy or the spec: what was found, and if it is met."""
    return _frame(
        {**row, "condition": str(row["condition"]), "found": str(row["found"])}
        for row in summary["expectations"]
    )


def claim(summary: Mapping[str, Any]) -> polars.DataFrame:
    """The claim chart: a row for each element, and the frames that prove it."""
    return _frame(summary["claim"])


def segments(record: RunRecord) -> polars.DataFrame:
    """A row for each captured TCP segment, as Wireshark numbers them (``frame``).

    Empty if the run was not captured. ``at``: the interface; ``outgoing``: its owner sent
    the segment; ``payload``: octets of data.
    """
    file = record.capture_file
    return _frame(
        {
            **seen._asdict(),
            "time_s": seen.time_ns / _NS,
            "flags": seen.flag_names,
        }
        for seen in (read_observations(str(file)) if file else ())
    ).rename({"label": "at"}, strict=False)


def sockets(record: RunRecord) -> polars.DataFrame:
    """A row for each change of state and each reset of a socket, as the kernels report it."""
    return _frame(
        {
            "time_s": event.time_ns / _NS,
            "host": event.host,
            "kind": event.kind,
            "connection": _connection(event.connection),
            "old": event.old,
            "new": event.new,
        }
        for event in read_socket_events(str(record.sockets_file))
    )


def _connection(connection: FourTuple | None) -> str | None:
    return format_connection(connection) if connection else None


def _frame(rows: Any, schema: Any = None) -> polars.DataFrame:
    return polars.DataFrame(
        list(rows), schema=schema, infer_schema_length=None, strict=False
    )


def _after(time_s: float | None, zero: float) -> float | None:
    return None if time_s is None else time_s - zero


def _counts(key: str) -> bool:
    return key not in _NO_FIGURES


def _flat(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number below a mapping, under its dotted key."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value
