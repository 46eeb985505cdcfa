"""ARP requests: which are answered, and how. Neighbour solicitations are not."""

from __future__ import annotations

import pytest

from controller.flows.entries import Field
from tests.controller.clusters import H1, H2, PLAN, network, state
from tests.controller.frames import Frame, arp_request, number, solicitation
from topologies.domain.plan import GATEWAY_MAC, VIP4, VIP6, VIP_MAC

C1N1, C1N2 = tuple(PLAN.nodes)[:2]


@pytest.mark.parametrize(
    ("host", "mac", "sender", "target", "answer"),
    [
        ("h1", H1.mac, H1.ipv4, VIP4, VIP_MAC),
        ("c1n1", C1N1.mac, VIP4, H1.ipv4, GATEWAY_MAC),
        ("c1n1", C1N1.mac, C1N1.ipv4, "10.9.9.9", GATEWAY_MAC),
    ],
    ids=["client asks for the VIP", "node asks for a client", "node asks for anyone"],
)
def test_an_arp_request_gets_its_reply(
    host: str, mac: str, sender: str, target: str, answer: str
) -> None:
    [reply] = network(state()).send(host, arp_request(mac, sender, target))
    assert reply.place == host
    assert reply.frame == {
        Field.VLAN_TCI: 0,
        Field.ETH_SRC: number(answer),
        Field.ETH_DST: number(mac),
        Field.ETH_TYPE: 0x0806,
        Field.ARP_OP: 2,
        Field.ARP_SPA: number(target),
        Field.ARP_SHA: number(answer),
        Field.ARP_TPA: number(sender),
        Field.ARP_THA: number(mac),
    }


@pytest.mark.parametrize(
    ("host", "request_"),
    [
        ("h1", arp_request(H1.mac, H1.ipv4, H2.ipv4)),
        ("h1", arp_request(H1.mac, H2.ipv4, VIP4)),
        ("h1", arp_request(H2.mac, H1.ipv4, VIP4)),
        ("h1", {**arp_request(H1.mac, H1.ipv4, VIP4), Field.ARP_OP: 2}),
        ("h1", solicitation(H1.mac, H1.ipv6, VIP6)),
        ("c1n1", arp_request(C1N2.mac, VIP4, H1.ipv4)),
        ("c1n1", solicitation(C1N1.mac, VIP6, H1.ipv6)),
    ],
    ids=[
        "for another client",
        "with another's address",
        "with another's MAC",
        "an unasked reply",
        "for the VIP, IPv6",
        "a node with another's MAC",
        "a node for a client, IPv6",
    ],
)
def test_no_other_request_is_answered(host: str, request_: Frame) -> None:
    assert network(state()).send(host, request_) == []
