"""Records of a cluster's event log (``events.jsonl``) in plain words; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

INFO, WARNING = "info", "warning"


def log_line(record: Mapping[str, Any]) -> dict[str, Any]:
    """``t``, ``text`` and ``level`` of one record. An unknown one is shown as it is."""
    what = record["what"]
    words = _WORDS.get(what, _as_it_is)
    level = WARNING if what in _WARNINGS else INFO
    return {"t": record["t"], "text": words(record), "level": level}


def _up(record: Mapping[str, Any]) -> str:
    nodes = record.get("nodes_per_chassis", [])
    return (
        f"the cluster serves: {len(nodes)} chassis, {sum(nodes)} nodes, "
        f"{record.get('clients')} clients"
    )


def _switched(record: Mapping[str, Any]) -> str:
    applied_ms = (record["applied_s"] - record["requested_s"]) * 1e3
    text = (
        f"{_event(record)}: every switch has its new tables after {applied_ms:.0f} ms"
    )
    if record.get("settled_s") is not None:
        settled_ms = (record["settled_s"] - record["requested_s"]) * 1e3
        text += f"; nothing is forwarded by the old ones after {settled_ms:.0f} ms"
    return text


def _event(record: Mapping[str, Any]) -> str:
    return f"{record['kind']} {record['target']}"


def _link(record: Mapping[str, Any]) -> str:
    shaped = [
        f"{key} {value:g}"
        for key, value in record.items()
        if key not in ("t", "what", "host") and value
    ]
    return f"what {record['host']} sends is shaped: {', '.join(shaped) or 'not at all'}"


def _moved(record: Mapping[str, Any]) -> str:
    return f"nodes reset {sum(record['nodes'].values())} connections that have moved"


def _as_it_is(record: Mapping[str, Any]) -> str:
    more = [f"{k} {v}" for k, v in record.items() if k not in ("t", "what")]
    return f"{record['what']}: {', '.join(more)}" if more else str(record["what"])


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "up": _up,
    "down": lambda _: "the cluster is being removed",
    "watched": lambda _: "somebody watches",
    "event": lambda record: f"{_event(record)}: requested",
    "switched": _switched,
    "event failed": lambda record: f"the event was undone: {record['error']}",
    "apply failed": lambda record: f"the switches refused tables: {record['error']}",
    "reset moved connections": _moved,
    "link": _link,
    "restarted": lambda record: f"{record['program']} had died; it was started again",
    "fault": lambda record: f"fault: {record['fault']}",
}
_WARNINGS = frozenset(("event failed", "apply failed", "restarted", "fault"))
