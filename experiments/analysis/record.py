"""A run's evidence in its folder, written and read back: what is analysed, as it was seen.

``evidence.json`` holds what no other file of the folder does: the cluster's states, the
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
from experiments.analysis.analysis import Course, Evidence
from experiments.cluster.changes import EventRecord
from experiments.whole_file import write_whole
from nodes.clients.client_report import parse_report
from topologies.datapaths import Datapath
from topologies.domain.connection import FourTuple

FILE = "evidence.json"


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Leaves the evidence of a run in its folder, for :func:`read_evidence`."""
    course, capture = evidence.course, evidence.capture_file
    record = {
        "initial": _state(evidence.initial),
        "final": _state(evidence.final),
        "events": [{**e.to_json(), "after": _state(e.after)} for e in evidence.events],
        "steady_s": course.steady_s,
        "end_s": course.end_s,
        "first_look_s": course.first_look_s,
        "last_look_s": course.last_look_s,
        "held_before": _held(course.held_before),
        "held_after": _held(course.held_after),
        "clients_after": sorted(course.clients_after),
        "packets": dict(evidence.packets),
        "reports": list(evidence.reports),
        "instruments": {k: dict(v) for k, v in evidence.instruments.items()},
        "capture": capture.name if capture else None,
        "sockets": evidence.sockets_file.name,
        "cluster": dict(evidence.cluster),
        "datapath": evidence.datapath.to_json(),
        "pins": evidence.pins,
        "faults": list(evidence.faults),
        "switch_drops": evidence.switch_drops,
    }
    write_whole(folder / FILE, json.dumps(record) + "\n")


def read_evidence(folder: Path) -> Evidence:
    """The evidence that :func:`write_evidence` left in a run's folder.

    Raises :class:`OSError`, :class:`LookupError` or :class:`ValueError`: there is none,
    or it is not whole.
    """
    said = json.loads((folder / FILE).read_text())
    initial = ClusterState.from_json(said["initial"])
    course = Course(
        steady_s=said["steady_s"],
        end_s=said["end_s"],
        first_look_s=said["first_look_s"],
        last_look_s=said["last_look_s"],
        held_before=_held_again(said["held_before"]),
        held_after=_held_again(said["held_after"]),
        clients_after=frozenset(FourTuple(*one) for one in said["clients_after"]),
    )
    return Evidence(
        initial=initial,
        final=ClusterState.from_json(said["final"]),
        events=tuple(_events(initial, said["events"])),
        course=course,
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
