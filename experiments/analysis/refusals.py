"""Connections that a server refused although it accepted them in TCP: pure.

A server with a limit accepts a connection, says so and closes it. The client closes it too,
and what was under way then makes its kernel end the socket as after a reset
(``TCPABORTONDATA`` in ``tcp_rcv_state_process``). Nobody was disturbed by that: the client
never had the session, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.analysis.outcomes import Outcome
from nodes.clients.client_report import ClientReport
from topologies.domain.plan import Client

#: Events of a report of a connection that the client had.
_HAD = frozenset({"reconnected", "reopened", "rested", "reset", "closed"})


def without_refusals(
    outcomes: Sequence[Outcome],
    clients: Sequence[Client],
    reports: Mapping[str, ClientReport],
) -> list[Outcome]:
    """The outcomes; those of refused connections are no resets.

    Refused is what did not move, was closed before the reset, and never opened by its
    client's word.
    """
    ends = refused_ends(clients, reports)
    return [
        replace(one, reset_ns=None)
        if not one.moved
        and one.closed_first
        and (one.connection.src, one.connection.sport) in ends
        else one
        for one in outcomes
    ]


def refused_ends(
    clients: Sequence[Client], reports: Mapping[str, ClientReport]
) -> frozenset[tuple[str, int]]:
    """Address and port of every attempt to connect that failed, with either address of its
    client."""
    return frozenset(
        (address, port)
        for client in clients
        if (report := reports.get(client.name))
        for address in (client.ipv4, client.ipv6)
        for port in refused_ports(report)
    )


def refused_ports(report: ClientReport) -> frozenset[int]:
    """Source ports of the client from which it tried to connect, and never did."""
    failed = {e.port for e in report.of_kind("error") if e.fields.get("port")}
    had = {e.port for e in report.events if e.kind in _HAD and e.fields.get("port")}
    return frozenset(failed - had - set(report.ports))
