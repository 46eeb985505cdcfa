"""A run's record in its folder, written and read back: what is analysed, as it was seen.

``record.json`` holds what no other file of the folder does: the cluster's states, the
times of the events, the snapshots of the kernels' socket tables, the packet counters,
and what the instruments say of themselves. Capture, socket events and the clients'
reports are files of their own beside it.
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

FILE = "record.json"
#: Of the format; a record of another version is not read.
VERSION = 1


def write_record(folder: Path, record: RunRecord) -> None:
    """Leaves the record of a run in its folder, for :func:`read_record`."""
    snapshots, capture = record.snapshots, record.capture_file
    said = {
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
        "faults": list(record.faults),
        "switch_drops": record.switch_drops,
    }
    write_whole(folder / FILE, json.dumps(said) + "\n")


def read_record(folder: Path) -> RunRecord:
    """The record that :func:`write_record` left in a run's folder.

    Raises :class:`OSError`, :class:`LookupError` or :class:`ValueError`: there is none,
    or it is not whole.
    """
    said = json.loads((folder / FILE).read_text())
    if said.get("version") != VERSION:
        found = said.get("version")
        raise ValueError(f"{folder / FILE}: version {found}, and this reads {VERSION}")
    initial = ClusterState.from_json(said["initial"])
    snapshots = Snapshots(
        steady_s=said["steady_s"],
        end_s=said["end_s"],
        first_look_s=said["first_look_s"],
        last_look_s=said["last_look_s"],
        held_before=_held_again(said["held_before"]),
        held_after=_held_again(said["held_after"]),
        clients_after=frozenset(FourTuple(*one) for one in said["clients_after"]),
    )
    return RunRecord(
        initial=initial,
        final=ClusterState.from_json(said["final"]),
        events=tuple(_events(initial, said["events"])),
        snapshots=snapshots,
        packets=said["packets"],
        reports={
            h: parse_report(folder / "hosts" / f"{h}.jsonl") for h in said["reports"]
        },
        instruments=said["instruments"],
        capture_file=folder / said["capture"] if said["capture"] else None,
        sockets_file=folder / said["sockets"],
        cluster=said["cluster"],
        datapath=Datapath.from_json(said["datapath"]),
        pins=said["pins"],
        faults=tuple(said["faults"]),
        switch_drops=said["switch_drops"],
        provenance=said["provenance"],
    )


def _state(state: ClusterState) -> dict[str, Any]:
    """A state without those before it: the analysis has them all."""
    return replace(state, history=()).to_json()


def _held(held: Mapping[FourTuple, list[str]]) -> list[Any]:
    return [[list(connection), nodes] for connection, nodes in held.items()]


def _held_again(said: Iterable[Any]) -> dict[FourTuple, list[str]]:
    return {FourTuple(*connection): list(nodes) for connection, nodes in said}


def _events(
    initial: ClusterState, said: Iterable[Mapping[str, Any]]
) -> list[EventRecord]:
    """The events; those of one instant share the states before and after."""
    found: list[EventRecord] = []
    before, after, asked = initial, initial, None
    for one in said:
        if one["requested_s"] != asked:
            before, asked = after, one["requested_s"]
            after = ClusterState.from_json(one["after"])
        fields = {k: v for k, v in one.items() if k != "after"}
        found.append(EventRecord(**fields, before=before, after=after))
    return found
