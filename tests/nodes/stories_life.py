"""What happens around a guard's own life: each story runs in the lab."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from nodes.guard.guard import GuardSettings
from nodes.guard.guard_ebpf import PINS
from nodes.guard.scapy_processes import ScapyGuard
from nodes.guard.segment import Segment
from nodes.guard.verdict import Mode
from tests.nodes.lab import Lab
from tests.nodes.namespace import CLIENTS, MARKERS, VIPS, Node, wait_for
from tests.nodes.packet_states import ACK, PSH, SYN, State
from tests.nodes.stories import since
from tests.nodes.wire import Wire

_CLOSED_PORT = 7


def restart(lab: Lab, guard: str, ip: int, state: State) -> dict[str, object]:
    """The guard is killed while connections exist, and ``check()`` is called."""
    used = lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    connection = peer.bring_to(state)
    lab.mark(ip)
    before = lab.counters()
    seen: dict[str, object] = {"undisturbed": used.check()}
    _kill_guard(lab, ip)
    seen["restored"] = used.check()
    seen["again"] = used.check()
    unacknowledged = (connection.snd_nxt - connection.snd_una) % 2**32
    peer.send(connection.segment(ACK | PSH, ack=-unacknowledged, length=5))
    lab.mark(ip)
    seen["kept"] = lab.node.state_of(peer.tuple)
    peer.send(connection.copy(seq=1))
    peer.send(connection.copy(ack=1 << 30))
    rejected = before.copies_rejected + 2
    wait_for(lambda: lab.counters().copies_rejected == rejected, "both rejections")
    seen["kept still"] = lab.node.state_of(peer.tuple)
    peer.send(connection.copy(seq=-unacknowledged, ack=5))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "its end")
    wait_for(lambda: lab.counters().copies_accepted > before.copies_accepted, "count")
    seen["counted"] = since(before, lab.counters(), markers=1)
    peer.close()
    return seen


def _kill_guard(lab: Lab, ip: int) -> None:
    """``kill -9`` of the guard's process, or, if it is none, removal of its hook."""
    if not isinstance(lab.guard, ScapyGuard):
        lab.node.run(f"tc qdisc del dev {lab.node.node_end} clsact")
        return
    pid = lab.guard.process_of(lab.node.name)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z", "its end")


def strays_while_guard_is_dead(lab: Lab, ip: int) -> list[Segment]:
    """What the node of a dead guard process says to a stray and to a copy."""
    guard = lab.use("scapy", Mode.ANSWER)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.ESTABLISHED)
    other = lab.peer(ip)
    lab.mark(ip)
    _kill_guard(lab, ip)
    other.send(other.connection.segment(ACK))
    peer.send(connection.copy())
    # The kernel answers this one: all before it has been dealt with.
    port = _CLOSED_PORT
    probe = Segment(MARKERS[ip], VIPS[ip], 99, port, 1, 0, SYN)
    peer.send(probe)
    caught = lab.wire.catch_until(
        lambda seen: any(
            one.segment.egress_connection == probe.ingress_connection for one in seen
        )
    )
    guard.check()
    kept = lab.node.state_of(peer.tuple)
    peer.close()
    other.close()
    assert kept == "ESTABLISHED", kept
    return [one.segment for one in caught if one.segment.sport != port]


def close(lab: Lab, guard: str) -> dict[str, str]:
    """What a closed guard leaves on the node; and closing is done twice."""
    used = lab.use(guard, Mode.ANSWER)
    lab.close_guard()
    used.close()
    return {
        "rules": lab.node.run("nft list ruleset"),
        "clsact": "clsact" * ("clsact" in lab.node.run("tc qdisc show")),
        "pins": "pins" * PINS.exists(),
    }


def two_nodes(lab: Lab, guard: str, ip: int) -> dict[str, object]:
    """A second node joins, gets a stray, and leaves."""
    used = lab.use(guard, Mode.ANSWER)
    node = Node(4)
    wire = Wire(node.client_end, node.mac)
    before = lab.counters()
    used.attach([node.site], GuardSettings())
    stray = Segment(CLIENTS[ip], VIPS[ip], 4, _CLOSED_PORT, 1, 2, ACK)
    wire.send(stray)
    answers = wire.catch_until(bool)
    seen: dict[str, object] = {
        "answers": [one.segment for one in answers],
        "counted": used.counters()[node.name],
        "elsewhere": since(before, lab.counters()),
    }
    used.detach(node.name)
    wire.send(stray)
    seen["kernel's own"] = [one.segment for one in wire.catch_until(bool)]
    seen["attached"] = list(used.counters())
    node.close()
    return seen
