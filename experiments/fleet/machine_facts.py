"""What a machine says of itself, and whether its results may stand beside another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.machine.code_digest import code_digest
from experiments.machine.provenance import provenance
from topologies.datapaths import DatapathMissing, find_datapath

#: Facts that change what is measured: their difference is said and noted.
COMPARED = ("kernel", "datapath", "openvswitch", "system", "python", "cores")


def machine_facts() -> dict[str, Any]:
    """The facts of this machine, as JSON. Takes some tenths of a second."""
    known = provenance()
    return {
        "code": known["code"],
        "code_digest": code_digest(),
        "kernel": known["kernel"],
        "datapath": _datapath(),
        "openvswitch": known["tools"]["openvswitch"],
        "system": known["system"],
        "python": known["python"],
        "cores": known["cores"],
        "memory_mib": known["memory_mib"],
    }


def code_name(facts: Mapping[str, Any]) -> str:
    """Commit and content of a machine's code, for people."""
    return f"{facts.get('code') or 'no commit'} (content {facts['code_digest'][:12]})"


def refusal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Why a machine gets no task: its code is not ours. None if it is."""
    if not theirs:
        return "it is no worker of resetbed; start it with ./resetbed worker"
    if theirs["code_digest"] == ours["code_digest"]:
        return None
    return (
        f"its code is {code_name(theirs)}, and here it is {code_name(ours)}; "
        "give both the same checkout, and start its worker again"
    )


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between two machines and matters to figures, for people."""
    return [
        f"{key} {one.get(key)} / {other.get(key)}"
        for key in COMPARED
        if one.get(key) != other.get(key)
    ]


def _datapath() -> str | None:
    """The datapath that a run gets which asks for none; None if there is none."""
    try:
        return find_datapath().name
    except DatapathMissing:
        return None
