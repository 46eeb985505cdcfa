"""Writes and reads the record of a run in its folder: the input of the analysis.

``record.json`` contains what no other file of the folder does: the cluster's states, the
times of the events, the snapshots of the kernels' socket tables, the packet counters,
and the instruments' own counters. Capture, socket events and the clients' reports are
separate files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.files.whole_file import write_whole
from experiments.record.event_record import EventRecord
from experiments.record.run_record import RunRecord, Snapshots
from nodes.clients.client_report import parse_report
from topologies.datapaths import Datapath
from topologies.domain.connection import FourTuple
from topologies.domain.events.link_change import link_in

FILE = "record.json"
#: Version of the format. Records of other versions are not read.
VERSION = 1
_EVENT_KEYS = ("kind", "target", "requested_s", "applied_s", "settled_s")


def write_record(folder: Path, record: RunRecord) -> None:
    """Writes the record of a run to its folder, for :func:`read_record`."""
    snapshots, capture = record.snapshots, record.capture_file
    data = {
        "version": VERSION,
        "provenance": dict(record.provenance),
        "initial": _state(record.initial),
        "final": _state(record.final),
        "events": [{**e.to_json(), "after": _state(e.after)} for e in record.events],
        "steady_s": snapshots.steady_s,
        "end_s": snapshots.end_s,
        "first_look_s": snapshots.first_look_s,
        "last_look_s": snapshots.last_look_s,
        "held_before": _held(snapshots.held_before),
        "held_after": _held(snapshots.held_after),
        "clients_after": sorted(snapshots.clients_after),
        "packets": dict(record.packets),
        "reports": list(record.reports),
        "instruments": {k: dict(v) for k, v in record.instruments.items()},
        "capture": capture.name if capture else None,
        "sockets": record.sockets_file.name,
        "cluster": dict(record.cluster),
        "datapath": record.datapath.to_json(),
        "pins": record.pins,
        "destroyed": record.destroyed,
        "faults": list(record.faults),
        "switch_drops": record.switch_drops,
    }
    write_whole(folder / FILE, json.dumps(data) + "\n")


def read_record(folder: Path) -> RunRecord:
    """The record that :func:`write_record` wrote to a run's folder.

    Raises :class:`OSError`, :class:`LookupError` or :class:`ValueError` if there is none,
    or if it is incomplete.
    """
    data = json.loads((folder / FILE).read_text())
    if data.get("version") != VERSION:
        version = data.get("version")
        raise ValueError(
            f"{folder / FILE}: version {version}, but only {VERSION} can be read"
        )
    initial = ClusterState.from_json(data["initial"])
    snapshots = Snapshots(
        steady_s=data["steady_s"],
        end_s=data["end_s"],
        first_look_s=data["first_look_s"],
        last_look_s=data["last_look_s"],
        held_before=_parse_held(data["held_before"]),
        held_after=_parse_held(data["held_after"]),
        clients_after=frozenset(FourTuple(*one) for one in data["clients_after"]),
    )
    return RunRecord(
        initial=initial,
        final=ClusterState.from_json(data["final"]),
        events=tuple(_events(initial, data["events"])),
        snapshots=snapshots,
        packets=data["packets"],
        reports={
            h: parse_report(folder / "hosts" / f"{h}.jsonl") for h in data["reports"]
        },
        instruments=data["instruments"],
        capture_file=folder / data["capture"] if data["capture"] else None,
        sockets_file=folder / data["sockets"],
        cluster=data["cluster"],
        datapath=Datapath.from_json(data["datapath"]),
        pins=data["pins"],
        destroyed=data.get("destroyed"),
        faults=tuple(data["faults"]),
        switch_drops=data["switch_drops"],
        provenance=data["provenance"],
    )


def _state(state: ClusterState) -> dict[str, Any]:
    """A state without its history: the record has all states."""
    return replace(state, history=(), ended=()).to_json()


def _held(held: Mapping[FourTuple, list[str]]) -> list[Any]:
    return [[list(connection), nodes] for connection, nodes in held.items()]


def _parse_held(data: Iterable[Any]) -> dict[FourTuple, list[str]]:
    return {FourTuple(*connection): list(nodes) for connection, nodes in data}


def _events(
    initial: ClusterState, data: Iterable[Mapping[str, Any]]
) -> list[EventRecord]:
    """The events. Those of one instant share the states before and after."""
    events: list[EventRecord] = []
    before, after, requested_s = initial, initial, None
    for event in data:
        if event["requested_s"] != requested_s:
            before, requested_s = after, event["requested_s"]
            after = ClusterState.from_json(event["after"])
        fields = {key: event[key] for key in _EVENT_KEYS}
        link = link_in(event)
        events.append(EventRecord(**fields, before=before, after=after, link=link))
    return events
