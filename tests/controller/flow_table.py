"""The switches' flow tables in memory: where does this frame go, and what becomes of it?

Only what the pipeline emits is understood; anything else is refused, so that a walk
cannot pass by ignoring something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from controller.flows.entries import (
    IN_PORT,
    REGISTERS,
    Action,
    Field,
    FlowEntry,
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
from tests.controller.frames import Frame, number
from topologies.domain.connection import FourTuple
from topologies.domain.hashing import IPPROTO_TCP, symmetric_l4
from topologies.domain.plan import (
    FABRIC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    Plan,
)

#: A switch's own fields of a frame: they exist only while it processes the frame.
_INSIDE = (Field.METADATA, *REGISTERS)
_PORTS = (Field.TCP_SRC, Field.TCP_DST)
#: Which bits of which fields an entry looks at, and what they are to be.
_Shape = tuple[tuple[Field, int], ...]
_Values = tuple[int, ...]


#: The port of trapped frames (OFPP_CONTROLLER).
_CONTROLLER = 0xFFFFFFFD


class Sent(NamedTuple):
    """A frame on its way out of a port."""

    port: int
    frame: Frame


class Arrival(NamedTuple):
    """A frame that has arrived at a host or at a switch."""

    place: str
    frame: Frame


class Classifier:
    """Entries by table and by what they match; finds those that fit a packet.

    As in Open vSwitch (lib/classifier.c, tuple space search): entries that look at the same
    bits of the same fields differ in the values alone, so that one look-up finds them all.
    """

    def __init__(self, entries: Iterable[FlowEntry] = ()) -> None:
        """With those entries; a table is sorted when a packet first comes to it."""
        self._unsorted: dict[int, list[FlowEntry]] = {}
        self._sorted: dict[int, dict[_Shape, dict[_Values, list[FlowEntry]]]] = {}
        for entry in entries:
            self._unsorted.setdefault(int(entry.table), []).append(entry)

    def put(self, entry: FlowEntry) -> None:
        """That entry instead of those with the same match."""
        self._sort(int(entry.table))
        self._alike(entry)[:] = [entry]

    def _sort(self, table: int) -> None:
        for entry in self._unsorted.pop(table, ()):
            self._alike(entry).append(entry)

    def _alike(self, entry: FlowEntry) -> list[FlowEntry]:
        shape = tuple([(field, _mask(wanted)) for field, wanted in entry.match])
        values = tuple([_value(wanted) for _, wanted in entry.match])
        by_values = self._sorted.setdefault(int(entry.table), {}).setdefault(shape, {})
        return by_values.setdefault(values, [])

    def matching(self, packet: Frame, table: int) -> list[FlowEntry]:
        """Every entry of the table that fits; none that names a field the packet lacks."""
        self._sort(int(table))
        found: list[FlowEntry] = []
        for shape, by_values in self._sorted.get(int(table), {}).items():
            try:
                values = tuple([packet[field] & mask for field, mask in shape])
            except KeyError:
                continue
            found += by_values.get(values, ())
        return found


class FlowTable:
    """One switch's tables. ``hit`` has every entry that has matched a frame."""

    def __init__(self, entries: Sequence[FlowEntry]) -> None:
        """Tables that hold ``entries``."""
        self._entries = Classifier(entries)
        self._learned = Classifier()
        self.hit: set[FlowEntry] = set()
        #: How many frames each meter has counted. None is dropped in a walk.
        self.metered: Counter[Meter] = Counter()
        #: Entries installed by ``learn``, by table and match.
        self.learned: dict[object, FlowEntry] = {}

    def recall(self, earlier: FlowTable) -> None:
        """Has learned what ``earlier`` has, and nothing else."""
        self.learned = dict(earlier.learned)
        self._learned = Classifier(self.learned.values())

    def process(self, frame: Frame, port: int) -> list[Sent]:
        """The frames sent when ``frame`` arrives at ``port``, in order."""
        packet = {**frame, Field.IN_PORT: port, **dict.fromkeys(_INSIDE, 0)}
        sent: list[Sent] = []
        self._walk(packet, 0, port, sent)
        return sent

    def _walk(
        self, packet: dict[Field, int], start: int, port: int, sent: list[Sent]
    ) -> None:
        """From that table on, until an entry does not continue in another."""
        table: int | None = start
        while table is not None:
            entry = self._matching(packet, table)
            if entry is None:
                break
            self.hit.add(entry)
            table = self._act(entry, packet, port, sent)

    def _matching(self, packet: Frame, table: int) -> FlowEntry | None:
        """The matching entry of the highest priority; two of one priority are an error."""
        found = self._entries.matching(packet, table)
        found += self._learned.matching(packet, table)
        if not found:
            return None
        best = max(entry.priority for entry in found)
        first, *others = [entry for entry in found if entry.priority == best]
        assert not others, f"ambiguous: {first} and {others[0]}"
        return first

    def _act(
        self, entry: FlowEntry, packet: dict[Field, int], port: int, sent: list[Sent]
    ) -> int | None:
        """Execute the entry's actions; returns the table to continue in."""
        for position, action in enumerate(entry.actions):
            if isinstance(action, GotoTable):
                assert action.table > entry.table, f"{entry}: goes back"
                assert position == len(entry.actions) - 1, f"{entry}: goes on too early"
                return action.table
            if isinstance(action, Output):
                sent.extend(_output(action, packet, port))
            elif isinstance(action, Meter):
                assert position == 0, f"{entry}: a meter is executed first"
                self.metered[action] += 1
            elif isinstance(action, Learn):
                learned = _learned(action, packet)
                self.learned[learned.table, learned.match] = learned
                self._learned.put(learned)
            elif isinstance(action, ToController):
                sent.append(Sent(_CONTROLLER, _outside(packet)))
            elif isinstance(action, Resubmit):
                self._walk(packet, action.table, port, sent)
            else:
                _write(action, packet)
        return None


def _mask(wanted: Value) -> int:
    """The bits that count, all where the whole field has to be equal."""
    if isinstance(wanted, Masked):
        return wanted.mask
    return number(wanted.mask) if isinstance(wanted, MaskedMac) else -1


def _value(wanted: Value) -> int:
    if isinstance(wanted, Masked):
        return wanted.value
    text = wanted.value if isinstance(wanted, MaskedMac) else wanted
    return number(text) if isinstance(text, str) else text


def _learned(action: Learn, packet: Frame) -> FlowEntry:
    match: dict[Field, Value] = {
        Field.ETH_TYPE: action.eth_type,
        Field.IP_PROTO: 6,
        **{f: packet[f] for f in (action.address, Field.TCP_SRC, Field.TCP_DST)},
    }
    write = SetField(action.register, packet[action.register])
    return FlowEntry.of(action.table, 0x8000, match, (write,), "learned")


def _output(action: Output, packet: Frame, port: int) -> Iterator[Sent]:
    """OVS never sends a frame back by "output" while its ingress port is set."""
    if action.port == IN_PORT:
        yield Sent(port, _outside(packet))
    elif action.port != packet[Field.IN_PORT]:
        yield Sent(action.port, _outside(packet))


def _outside(packet: Frame) -> Frame:
    """The frame without the switch's own fields."""
    return {f: v for f, v in packet.items() if f not in (Field.IN_PORT, *_INSIDE)}


def _write(action: Action, packet: dict[Field, int]) -> None:
    if isinstance(action, SetField):
        value = action.value
        packet[action.field] = number(value) if isinstance(value, str) else value
    elif isinstance(action, Move):
        mask = (1 << action.bits) - 1
        moved = packet[action.source] >> action.source_bit & mask
        kept = packet.get(action.destination, 0) & ~(mask << action.destination_bit)
        packet[action.destination] = kept | moved << action.destination_bit
    elif isinstance(action, Multipath):
        packet[action.register] = _hash(packet, action.basis) % action.buckets
    elif isinstance(action, SetBit):
        packet[action.register] |= 1 << action.bit
    else:
        raise TypeError(f"not an action of the pipeline: {action!r}")


def _hash(packet: Frame, basis: int) -> int:
    source, destination = _addresses(packet)
    protocol = packet[Field.IP_PROTO]
    ports = [packet[port] if protocol == IPPROTO_TCP else 0 for port in _PORTS]
    connection = FourTuple(source, ports[0], destination, ports[1])
    eth_src, eth_dst = f"{packet[Field.ETH_SRC]:012x}", f"{packet[Field.ETH_DST]:012x}"
    return symmetric_l4(connection, eth_src, eth_dst, basis, protocol)


def _addresses(packet: Frame) -> tuple[str, str]:
    if packet[Field.ETH_TYPE] == 0x0800:
        source, destination = packet[Field.IP_SRC], packet[Field.IP_DST]
        return str(IPv4Address(source)), str(IPv4Address(destination))
    source, destination = packet[Field.IPV6_SRC], packet[Field.IPV6_DST]
    return str(IPv6Address(source)), str(IPv6Address(destination))


class Network:
    """Every switch of a plan, connected as planned."""

    def __init__(self, plan: Plan, tables: Mapping[str, Sequence[FlowEntry]]) -> None:
        """``tables``: what :func:`controller.pipeline.pipeline.pipeline` returns."""
        self.switches = {name: FlowTable(entries) for name, entries in tables.items()}
        self._links = _links(plan)
        self._ports = {
            host: port for port, host in self._links.items() if isinstance(host, str)
        }

    def recall(self, earlier: Network) -> Network:
        """This network, with the entries that the switches of ``earlier`` have learned."""
        for name, switch in self.switches.items():
            if name in earlier.switches:
                switch.recall(earlier.switches[name])
        return self

    def forget(self) -> Network:
        """This network, without the entries that its switches have learned."""
        for switch in self.switches.values():
            switch.recall(FlowTable(()))
        return self

    def send(self, host: str, frame: Frame) -> list[Arrival]:
        """Everything that arrives anywhere when a host sends ``frame``, in order.

        A frame that crosses to another switch arrives there first (its place is the
        switch's name), then what that switch sends.
        """
        arrivals: list[Arrival] = []
        ways = [(self._ports[host], frame)]
        while ways:
            (switch, port), arrived = ways.pop(0)
            for sent in self.switches[switch].process(arrived, port):
                place = self._links[switch, sent.port]
                if isinstance(place, str):
                    arrivals.append(Arrival(place, sent.frame))
                else:
                    arrivals.append(Arrival(place[0], sent.frame))
                    ways.append((place, sent.frame))
            assert len(arrivals) < 1000, "the frame goes round and round"
        return arrivals

    def delivered(self, host: str, frame: Frame) -> list[Arrival]:
        """The arrivals at hosts."""
        arrivals = self.send(host, frame)
        return [a for a in arrivals if a.place not in self.switches]


def _links(plan: Plan) -> dict[tuple[str, int], str | tuple[str, int]]:
    """What is at the other end of each port: a host, or another switch's port."""
    links: dict[tuple[str, int], str | tuple[str, int]] = {
        (FABRIC, client.fabric_port): client.name for client in plan.clients
    }
    links[FABRIC, _CONTROLLER] = "controller"
    links[FABRIC, LOOP_OUT_PORT] = (FABRIC, LOOP_IN_PORT)
    for chassis in plan.chassis:
        links[FABRIC, chassis.fabric_port] = (chassis.name, UPLINK_PORT)
        links[chassis.name, UPLINK_PORT] = (FABRIC, chassis.fabric_port)
        links |= {(chassis.name, node.port): node.name for node in chassis.nodes}
    return links
