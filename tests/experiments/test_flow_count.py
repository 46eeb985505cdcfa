"""The request for a switch's counters, as another implementation of OpenFlow reads it."""

from __future__ import annotations

from os_ken.ofproto import ofproto_parser, ofproto_v1_4, ofproto_v1_4_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from experiments.cluster.flow_count import aggregate_request, hello, packets_of
from topologies.domain.plan import FANOUT_MAC

SWITCH = ProtocolDesc(version=ofproto_v1_4.OFP_VERSION)


def test_the_request_is_what_another_implementation_sends() -> None:
    parser, numbers = ofproto_v1_4_parser, ofproto_v1_4
    theirs = parser.OFPAggregateStatsRequest(
        SWITCH,
        0,
        numbers.OFPTT_ALL,
        numbers.OFPP_ANY,
        numbers.OFPG_ANY,
        0,
        0,
        parser.OFPMatch(eth_src=FANOUT_MAC),
    )
    theirs.set_xid(1)
    theirs.serialize()
    assert aggregate_request(FANOUT_MAC) == bytes(theirs.buf)


def test_the_first_message_is_a_hello() -> None:
    version, kind, size, xid = ofproto_parser.header(hello())
    assert (version, kind, size, xid) == (5, ofproto_v1_4.OFPT_HELLO, 8, 1)


def test_the_packets_are_read_from_a_reply() -> None:
    reply = b"\x00\x02\x00\x00" + bytes(4) + (996).to_bytes(8, "big") + bytes(16)
    assert packets_of(reply) == 996
