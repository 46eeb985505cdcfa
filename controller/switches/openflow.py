"""Encodes flow entries as OpenFlow 1.4 messages, with Nicira's extensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from controller.flows.entries import (
    REGISTERS,
    Action,
    Field,
    FlowEntry,
    FlowKey,
    GotoTable,
    Learn,
    Masked,
    MaskedMac,
    Meter,
    Move,
    Multipath,
    Output,
    Resubmit,
    SetBit,
    SetField,
    ToController,
    Value,
)
from controller.flows.flow_tables import Table
from controller.pipeline.difference import Change
from controller.switches.framework import FlowUpdate, nicira_ext, ofproto, parser
from topologies.domain.hashing import IPPROTO_TCP

#: The framework's name of each field. All are Nicira's (NXM): the framework writes a match
#: in the order of the fields' numbers, and a field must come after its prerequisites. In a
#: mix with OpenFlow's own fields (OXM) that order would be wrong.
_NAMES = {
    Field.IN_PORT: "in_port_nxm",
    Field.METADATA: "metadata",
    **{register: register.value for register in REGISTERS},
    Field.VLAN_TCI: "vlan_tci",
    Field.ETH_SRC: "eth_src_nxm",
    Field.ETH_DST: "eth_dst_nxm",
    Field.ETH_TYPE: "eth_type_nxm",
    Field.IP_FRAG: "ip_frag",
    Field.IP_PROTO: "ip_proto_nxm",
    Field.IP_SRC: "ipv4_src_nxm",
    Field.IP_DST: "ipv4_dst_nxm",
    Field.IPV6_SRC: "ipv6_src_nxm",
    Field.IPV6_DST: "ipv6_dst_nxm",
    Field.TCP_SRC: "tcp_src_nxm",
    Field.TCP_DST: "tcp_dst_nxm",
    Field.TCP_FLAGS: "tcp_flags_nxm",
    Field.ICMP_TYPE: "icmpv4_type_nxm",
    Field.ICMPV6_TYPE: "icmpv6_type_nxm",
    Field.ARP_OP: "arp_op_nxm",
    Field.ARP_SPA: "arp_spa_nxm",
    Field.ARP_TPA: "arp_tpa_nxm",
    Field.ARP_SHA: "arp_sha_nxm",
    Field.ARP_THA: "arp_tha_nxm",
}

#: A bundle's changes take effect together, in order.
_ATOMIC = ofproto.OFPBF_ATOMIC | ofproto.OFPBF_ORDERED


@dataclass(frozen=True)
class DumpedEntry:
    """A flow entry from a switch's dump; ``match`` is the framework's."""

    key: FlowKey
    match: Any

    @classmethod
    def from_stats(cls, stats: Any) -> DumpedEntry:
        """One element of a flow stats reply."""
        return cls(FlowKey(stats.table_id, stats.priority, stats.cookie), stats.match)


#: A flow entry in a switch: installed by us, or found in a dump.
SwitchEntry = FlowEntry | DumpedEntry


@lru_cache(maxsize=1 << 14)
def _match(fields: tuple[tuple[Field, Value], ...]) -> Any:
    """A match as the framework's ``OFPMatch``. Cached: switches share most matches."""
    return parser.OFPMatch(**{_NAMES[f]: _value(v) for f, v in fields})


def _value(value: Value) -> Any:
    return tuple(value) if isinstance(value, Masked | MaskedMac) else value


def instructions_of(entry: FlowEntry) -> list[Any]:
    """The entry's actions as the framework's instructions; empty for a drop."""
    instructions = [
        parser.OFPInstructionMeter(meter.number) for meter in meters_of((entry,))
    ]
    actions = [
        _encoded(a) for a in entry.actions if not isinstance(a, GotoTable | Meter)
    ]
    if actions:
        apply = ofproto.OFPIT_APPLY_ACTIONS
        instructions.append(parser.OFPInstructionActions(apply, actions))
    instructions += [
        parser.OFPInstructionGotoTable(action.table)
        for action in entry.actions
        if isinstance(action, GotoTable)
    ]
    return instructions


def _output(action: Output) -> Any:
    return parser.OFPActionOutput(action.port)


def _to_controller(action: ToController) -> Any:
    whole = ofproto.OFPCML_NO_BUFFER
    return parser.OFPActionOutput(ofproto.OFPP_CONTROLLER, whole)


def _set_field(action: SetField) -> Any:
    return parser.OFPActionSetField(**{_NAMES[action.field]: action.value})


def _move(action: Move) -> Any:
    return parser.NXActionRegMove(
        src_field=_NAMES[action.source],
        dst_field=_NAMES[action.destination],
        n_bits=action.bits,
        src_ofs=action.source_bit,
        dst_ofs=action.destination_bit,
    )


def _multipath(action: Multipath) -> Any:
    return parser.NXActionMultipath(
        fields=nicira_ext.NX_HASH_FIELDS_SYMMETRIC_L4,
        basis=action.basis,
        algorithm=nicira_ext.NX_MP_ALG_MODULO_N,
        max_link=action.buckets - 1,
        arg=0,
        ofs_nbits=nicira_ext.ofs_nbits(0, 15),
        dst=_NAMES[action.register],
    )


def _set_bit(action: SetBit) -> Any:
    return parser.NXActionRegLoad(
        ofs_nbits=nicira_ext.ofs_nbits(action.bit, action.bit),
        dst=_NAMES[action.register],
        value=1,
    )


def _learn(action: Learn) -> Any:
    def fixed(value: int, field: Field, bits: int) -> Any:
        return parser.NXFlowSpecMatch(src=value, dst=(_NAMES[field], 0), n_bits=bits)

    def own(field: Field, bits: int) -> Any:
        place = (_NAMES[field], 0)
        return parser.NXFlowSpecMatch(src=place, dst=place, n_bits=bits)

    register = (_NAMES[action.register], 0)
    return parser.NXActionLearn(
        table_id=action.table,
        specs=[
            fixed(action.eth_type, Field.ETH_TYPE, 16),
            fixed(IPPROTO_TCP, Field.IP_PROTO, 8),
            own(action.address, action.address_bits),
            own(Field.TCP_SRC, 16),
            own(Field.TCP_DST, 16),
            parser.NXFlowSpecLoad(src=register, dst=register, n_bits=32),
        ],
        idle_timeout=action.idle_s,
        fin_idle_timeout=action.after_end_s,
    )


def _resubmit(action: Resubmit) -> Any:
    return parser.NXActionResubmitTable(table_id=action.table)


_ENCODERS: dict[type[Action], Callable[[Any], Any]] = {
    Output: _output,
    ToController: _to_controller,
    SetField: _set_field,
    Move: _move,
    Multipath: _multipath,
    SetBit: _set_bit,
    Learn: _learn,
    Resubmit: _resubmit,
}


@lru_cache(maxsize=1 << 14)
def _encoded(action: Action) -> Any:
    return _ENCODERS[type(action)](action)


def bundle(datapath: Any, bundle_id: int, change: Change[SwitchEntry]) -> list[Any]:
    """Messages for ``change``: its meters, one atomic, ordered bundle, then a barrier.

    Meters cannot be in a bundle (OpenFlow 1.4, 7.3.9.4), and must exist before an entry
    refers to them. They are added each time, because a switch that was restarted has none;
    the error for one that exists is not an error (:func:`is_known_meter`).
    """

    def control(kind: int) -> Any:
        return parser.OFPBundleCtrlMsg(datapath, bundle_id, kind, _ATOMIC, [])

    return [
        *(_meter_mod(datapath, meter) for meter in meters_of(change.add)),
        control(ofproto.OFPBCT_OPEN_REQUEST),
        *(
            parser.OFPBundleAddMsg(datapath, bundle_id, _ATOMIC, flow_mod, [])
            for flow_mod in _flow_mods(datapath, change)
        ),
        control(ofproto.OFPBCT_COMMIT_REQUEST),
        parser.OFPBarrierRequest(datapath),
    ]


def meters_of(entries: Iterable[FlowEntry]) -> tuple[Meter, ...]:
    """The meters that those entries refer to, each once."""
    actions = (action for entry in entries for action in entry.actions)
    return tuple(dict.fromkeys(a for a in actions if isinstance(a, Meter)))


def _meter_mod(datapath: Any, meter: Meter) -> Any:
    return parser.OFPMeterMod(
        datapath,
        command=ofproto.OFPMC_ADD,
        flags=ofproto.OFPMF_PKTPS | ofproto.OFPMF_BURST,
        meter_id=meter.number,
        bands=[parser.OFPMeterBandDrop(rate=meter.rate, burst_size=meter.burst)],
    )


def is_known_meter(message: Any) -> bool:
    """Whether an error message only says that a meter exists already."""
    kind = (ofproto.OFPET_METER_MOD_FAILED, ofproto.OFPMMFC_METER_EXISTS)
    return (message.type, message.code) == kind


def _flow_mods(datapath: Any, change: Change[SwitchEntry]) -> Iterator[Any]:
    for entry in change.add:
        # No OFPFF_RESET_COUNTS: a replaced entry keeps its counters.
        yield parser.OFPFlowMod(
            datapath,
            command=ofproto.OFPFC_ADD,
            table_id=entry.table,
            priority=entry.priority,
            cookie=entry.cookie,
            match=_match(entry.match),
            instructions=instructions_of(entry),
        )
    for gone in change.delete:
        # The cookie must match too. If an add has just replaced this entry, nothing is
        # left to delete.
        yield parser.OFPFlowMod(
            datapath,
            command=ofproto.OFPFC_DELETE_STRICT,
            table_id=gone.key.table,
            priority=gone.key.priority,
            cookie=gone.key.cookie,
            cookie_mask=0xFFFFFFFFFFFFFFFF,
            match=_match(gone.match) if isinstance(gone, FlowEntry) else gone.match,
            out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY,
        )


def dump_request(datapath: Any) -> Any:
    """Request for all flow entries of the switch."""
    return parser.OFPFlowStatsRequest(datapath)


def monitor_request(datapath: Any) -> Any:
    """Request to be notified of changes of the switch's flow entries.

    Our own changes are abbreviated (``OFPFME_ABBREV``), others' are reported in full.
    """
    flags = ofproto.OFPFMF_ADD | ofproto.OFPFMF_REMOVED | ofproto.OFPFMF_MODIFY
    return parser.OFPFlowMonitorRequest(
        datapath,
        flags=0,
        monitor_id=1,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        monitor_flags=flags,
        table_id=ofproto.OFPTT_ALL,
        command=ofproto.OFPFMC_ADD,
        match=parser.OFPMatch(),
    )


def is_foreign(update: FlowUpdate) -> bool:
    """Whether an element of a flow monitor reply reports a change by others.

    True for a pause of the monitor too: changes meanwhile are not reported. False for
    entries that the switch has learned: they are not ours to manage.
    """
    own = update.event == ofproto.OFPFME_ABBREV
    return bool(not own and update.table != Table.LEARNED)


def is_learned(stats: Any) -> bool:
    """Whether an element of a flow stats reply is an entry that the switch learned."""
    return bool(stats.table_id == Table.LEARNED)


def serialized(messages: Sequence[Any], first_xid: int) -> bytes:
    """The messages in wire format, numbered from ``first_xid``."""
    data = bytearray()
    for xid, message in enumerate(messages, start=first_xid):
        message.set_xid(xid)
        message.serialize()
        data += message.buf
    return bytes(data)


def error_text(message: Any) -> str:
    """A switch's error message as text, with OpenFlow's names."""
    kind = ofproto.ofp_error_type_to_str(message.type)
    return f"{kind}: {ofproto.ofp_error_code_to_str(message.type, message.code)}"
