"""The controller of the naive reference: it parses each reset and sends the copies.

``python -m experiments.bench.networks.naive_controller --listen SOCKET`` runs it like
``controller``. It maintains the switches' tables like ours. For each packet-in it sends
one packet-out per copy, built with the framework's packet library.
"""

from __future__ import annotations

import argparse
import importlib
import signal
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from controller.service.app import LoadBalancerController
from controller.service.config import Config
from controller.switches.framework import (
    FRAMEWORK,
    MAIN_DISPATCHER,
    handles,
    ofp_event,
    ofproto,
    parser,
    run,
)
from experiments.bench.networks.naive_policy import CONTROLLER_PORT, register
from topologies.domain.plan import FABRIC, FANOUT_MAC, VIP_MAC, Plan

_library = importlib.import_module(f"{FRAMEWORK}.lib.packet.packet")


class NaiveController(LoadBalancerController):
    """Our controller, with a handler for packet-ins."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plan: Plan = ClusterState.read(Config.from_environment().state).plan
        self._names = {dpid: name for name, dpid in self._plan.switches.items()}

    @handles(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet(self, event: Any) -> None:
        """A reset at the fabric, or a copy at a chassis."""
        datapath, frame = event.msg.datapath, event.msg.data
        name = self._names[datapath.id]
        if name == FABRIC:
            copy = _swapped(frame)
            for chassis in self._plan.chassis:
                _send(datapath, chassis.fabric_port, copy)
        else:
            for node in self._plan.find_chassis(name).nodes:
                _send(datapath, node.port, _addressed(frame, node.mac))


def _swapped(frame: bytes) -> bytes:
    """The reset as if sent by the client, with the mark of a copy."""
    packet = _packet(frame)
    ethernet, ip, tcp = packet.protocols[:3]
    ethernet.src, ethernet.dst = FANOUT_MAC, VIP_MAC
    ip.src, ip.dst = ip.dst, ip.src
    tcp.src_port, tcp.dst_port = tcp.dst_port, tcp.src_port
    return _serialized(packet)


def _addressed(frame: bytes, mac: str) -> bytes:
    packet = _packet(frame)
    packet.protocols[0].dst = mac
    return _serialized(packet)


def _packet(frame: bytes) -> Any:
    return _library.Packet(frame)


def _serialized(packet: Any) -> bytes:
    """The packet with new checksums."""
    packet.protocols[2].csum = 0
    packet.serialize()
    return bytes(packet.data)


def _send(datapath: Any, port: int, frame: bytes) -> None:
    out = parser.OFPPacketOut(
        datapath=datapath,
        buffer_id=ofproto.OFP_NO_BUFFER,
        in_port=CONTROLLER_PORT,
        actions=[parser.OFPActionOutput(port)],
        data=frame,
    )
    datapath.send_msg(out)


def main() -> None:
    """As ``python -m controller``."""
    options = argparse.ArgumentParser(prog="naive_controller", description=__doc__)
    options.add_argument("--listen", type=Path, required=True, metavar="SOCKET")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    register()
    run("experiments.bench.networks.naive_controller", options.parse_args().listen)


if __name__ == "__main__":
    main()
