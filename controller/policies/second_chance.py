"""Baseline: a node redirects a stray to its bucket's earlier owners, one after the other.

Neither switches nor guards keep a connection's state (as in GLB and Beamer). The guard
sends the stray back with a reserved Ethernet destination. The fabric finds the chassis, and
the chassis the node, that owned the connection before its present owner. That node
recognises the connection and answers the client, or redirects the stray in turn, to the
owner before it. The last one resets it.

Both tiers must mean the same time. So a frame carries a time T, in two bytes of a MAC: the
next owner is the one just before T. From the fabric to a chassis a frame also carries the
time since when the fabric has sent the bucket there. A chassis never goes further back than
this: then it is again the fabric's turn. With each step T gets smaller, so a search ends.

Both tiers must compute the hash of the client's own segments, over the exclusive or of two
MACs. The fabric sets both so that it is right. From the fabric to a chassis the destination
carries times. The chassis takes them out and writes :data:`SEARCH_HASH_MAC` there, and the
source is such that it is right again. No chassis needs to know the clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.flows.entries import (
    IN_PORT,
    REGISTERS,
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Masked,
    MaskedMac,
    Move,
    Multipath,
    Output,
    Resubmit,
    SetField,
    Value,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
)
from controller.policies.fan_out import destination_with_same_hash
from controller.policies.policy import ResetPolicy, TableHistory
from controller.policies.promise import Promise
from controller.policies.questions import Memory, OnStray
from topologies.domain.history import LATEST, MAX_HISTORY, Timeline
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    GATEWAY_MAC,
    SEARCH_HASH_MAC,
    SEARCH_MAC,
    SEARCH_MASK,
    SECOND_CHANCE_MAC,
    SECOND_CHANCE_MASK,
    UPLINK_PORT,
    Chassis,
    Client,
    Node,
    Plan,
    client_address,
)
from topologies.domain.reigns import (
    TIME_BITS,
    Reign,
    Shape,
    Turn,
    prefixes,
    reigns_of,
    turns_of,
)

#: Instead of a time. The present owner has been asked, and no other one yet.
_FIRST = 0
#: Instead of a time. Nobody is left: the present owner is to answer.
_LAST = LATEST + 1

#: The next owner is the one just before this time.
_TIME = REGISTERS[1]
#: At a chassis: since when the fabric has sent the bucket here.
_FABRIC_SINCE = REGISTERS[2]
#: Bit ``i``: the reign to look in has this number, or a later one.
_REIGNS = REGISTERS[3]
#: The number of the member found, and since when it has the bucket.
_MEMBER, _SINCE = REGISTERS[4:6]
#: Not 0: the member has got the bucket while the fabric sent it to this chassis.
_WITHIN = REGISTERS[6]
#: The bucket, in tables of each shape.
_BUCKETS = REGISTERS[7 : 7 + MAX_HISTORY + 1]

#: Where a time is in :data:`SECOND_CHANCE_MAC`, and a second one from fabric to chassis.
_TIME_BIT, _SINCE_BIT = 16, 0

_ANY_SECOND_CHANCE = MaskedMac(SECOND_CHANCE_MAC, SECOND_CHANCE_MASK)
_TO_TIME = Move(Field.ETH_DST, _TIME, TIME_BITS, source_bit=_TIME_BIT)
_LOOK_UP = Resubmit(Table.REIGN)


def fabric_entries(
    plan: Plan, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """From any chassis to the one that owned the bucket just before the frame's time."""
    reachable = membership.reachable_chassis(plan)
    reigns = reigns_of(past)
    if not reachable or not past[0].table:
        return ()
    turns = tuple(turns_of(reigns))
    shapes = _shapes(reigns)
    numbers = {chassis.name: chassis.number for chassis in plan.chassis}
    outputs: dict[str, tuple[Action, ...]] = {
        chassis.name: (
            SetField(Field.ETH_DST, "02:00:00:00:00:00"),
            Move(_TIME, Field.ETH_DST, TIME_BITS, destination_bit=_TIME_BIT),
            Move(_SINCE, Field.ETH_DST, TIME_BITS, destination_bit=_SINCE_BIT),
            Output(chassis.fabric_port),
        )
        for chassis in reachable
    }
    return (
        *(_from_chassis(c, family) for c in reachable for family in ADDRESS_FAMILIES),
        *(
            _from_client(client, family, shapes)
            for client in plan.clients
            for family in ADDRESS_FAMILIES
        ),
        *_reign_entries(reigns),
        *_turn_entries(turns, shapes, numbers, Table.MEMBER),
        *_member_entries(turns, numbers, outputs),
        *_further_back(_unreachable(turns, outputs)),
    )


def chassis_entries(
    chassis: Chassis, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """From nodes to the fabric; from the fabric to the owner just before its time."""
    nodes = membership.reachable_nodes(chassis)
    upward = tuple(
        entry
        for node in nodes
        for f in ADDRESS_FAMILIES
        for entry in _from_node(node, f)
    )
    reigns = reigns_of(past)
    if not reigns:
        return upward
    turns = tuple(turns_of(reigns))
    shapes = _shapes(reigns)
    numbers = {node.name: node.number for node in chassis.nodes}
    outputs: dict[str, tuple[Action, ...]] = {
        node.name: (SetField(Field.ETH_DST, node.mac), Output(node.port))
        for node in nodes
    }
    hashed = FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {},
        (*_bucket_actions(shapes), GotoTable(Table.REIGN)),
        "the bucket, in earlier tables too",
    )
    return (
        *upward,
        *(_from_fabric(family) for family in ADDRESS_FAMILIES),
        hashed,
        *_reign_entries(reigns),
        *_turn_entries(turns, shapes, numbers, Table.LATER),
        *_later_entries(reigns),
        *_step_entries(answers=bool(past[0].table), changed=len(reigns) > 1),
        *_member_entries(turns, numbers, outputs),
        *_back_to_fabric(_unreachable(turns, outputs)),
    )


def _shapes(reigns: Sequence[Reign]) -> Mapping[Shape, Field]:
    """The register for the bucket in tables of each shape."""
    distinct = dict.fromkeys(reign.shape for reign in reigns)
    return dict(zip(distinct, _BUCKETS, strict=False))


def _bucket_actions(shapes: Mapping[Shape, Field]) -> tuple[Action, ...]:
    return tuple(
        Multipath(basis, buckets, register)
        for (basis, buckets), register in shapes.items()
    )


def _unreachable(turns: Iterable[Turn], outputs: Mapping[str, object]) -> set[int]:
    """Since when members that cannot be reached had their buckets."""
    return {turn.since for turn in turns if turn.member not in outputs}


def _from_node(node: Node, family: AddressFamily) -> Iterator[FlowEntry]:
    marked: dict[Field, Value] = {
        **family.tcp,
        Field.IN_PORT: node.port,
        Field.ETH_SRC: node.mac,
        Field.ETH_DST: _ANY_SECOND_CHANCE,
    }
    yield FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {**marked, family.destination: family.vip},
        (GotoTable(Table.RETURN),),
        f"stray redirected by {node.name} (IPv{family.version})",
    )
    yield FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {**marked, family.source: family.vip},
        (SetField(Field.ETH_DST, GATEWAY_MAC), GotoTable(Table.RETURN)),
        f"{node.name}'s answer to a redirected stray (IPv{family.version})",
    )


def _from_chassis(chassis: Chassis, family: AddressFamily) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            Field.IN_PORT: chassis.fabric_port,
            Field.ETH_DST: _ANY_SECOND_CHANCE,
            family.destination: family.vip,
        },
        (_TO_TIME, GotoTable(Table.FANOUT)),
        f"stray redirected in {chassis.name} (IPv{family.version})",
    )


def _from_client(
    client: Client, family: AddressFamily, shapes: Mapping[Shape, Field]
) -> FlowEntry:
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {**family.tcp, family.source: client_address(client, family.version)},
        (
            SetField(
                Field.ETH_SRC, destination_with_same_hash(client, SEARCH_HASH_MAC)
            ),
            SetField(Field.ETH_DST, SEARCH_HASH_MAC),
            *_bucket_actions(shapes),
            # The frame may have to leave through its ingress port.
            SetField(Field.IN_PORT, 0),
            GotoTable(Table.REIGN),
        ),
        f"{client.name}'s stray: the bucket, in earlier tables too",
    )


def _from_fabric(family: AddressFamily) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            Field.IN_PORT: UPLINK_PORT,
            Field.ETH_SRC: MaskedMac(SEARCH_MAC, SEARCH_MASK),
            family.destination: family.vip,
        },
        (
            _TO_TIME,
            Move(Field.ETH_DST, _FABRIC_SINCE, TIME_BITS, source_bit=_SINCE_BIT),
            SetField(Field.ETH_DST, SEARCH_HASH_MAC),
            GotoTable(Table.FANOUT),
        ),
        f"stray for an earlier owner (IPv{family.version})",
    )


def _reign_entries(reigns: Sequence[Reign]) -> Iterator[FlowEntry]:
    """Time -> the reign just before it. The present one for what is no time."""
    for number, (reign, following) in enumerate(zip(reigns, reigns[1:], strict=False)):
        until = following.since if reign.until is None else reign.until
        look = _look_in(number)
        yield from _at_times(reign.since + 1, until, look, f"reign {number}")
        # Nobody was in service then. The reign before ended at its own end.
        ended = (SetField(_TIME, until), *look)
        yield from _at_times(until + 1, following.since, ended, f"after {number}")
    present = len(reigns) - 1
    yield FlowEntry.of(
        Table.REIGN, Priority.DEFAULT, {}, _look_in(present), "the present reign"
    )


def _look_in(number: int) -> tuple[Action, ...]:
    lit = SetField(_REIGNS, (1 << number + 1) - 1)
    return lit, GotoTable(Table.PREVIOUS_OWNER)


def _at_times(
    low: int, high: int, actions: tuple[Action, ...], name: str
) -> Iterator[FlowEntry]:
    for value, mask in prefixes(low, high):
        yield FlowEntry.of(
            Table.REIGN,
            Priority.POLICY,
            {_TIME: Masked(value, mask)},
            actions,
            f"{name}: before {low} to {high}",
        )


def _turn_entries(
    turns: Iterable[Turn],
    shapes: Mapping[Shape, Field],
    numbers: Mapping[str, int],
    onward: Table,
) -> Iterator[FlowEntry]:
    """Bucket and reign -> the member that had it, and since when.

    They do not say who can be reached, nor what came later. So an event that does not
    touch a bucket does not touch its entries.
    """
    for turn in turns:
        # From its first reign on; not in the one after its last.
        after = 0 if turn.last is None else 1 << turn.last + 1
        first = 1 << turn.first
        yield FlowEntry.of(
            Table.PREVIOUS_OWNER,
            Priority.POLICY,
            {shapes[turn.shape]: turn.bucket, _REIGNS: Masked(first, first | after)},
            (
                SetField(_MEMBER, numbers[turn.member]),
                SetField(_SINCE, turn.since),
                GotoTable(onward),
            ),
            f"bucket {turn.bucket} of {turn.shape[1]}, since {turn.since}: {turn.member}",
        )


def _member_entries(
    turns: Iterable[Turn],
    numbers: Mapping[str, int],
    outputs: Mapping[str, tuple[Action, ...]],
) -> Iterator[FlowEntry]:
    for name in dict.fromkeys(turn.member for turn in turns):
        if name in outputs:
            yield FlowEntry.of(
                Table.MEMBER,
                Priority.POLICY,
                {_MEMBER: numbers[name]},
                outputs[name],
                f"to {name}",
            )


def _further_back(unreachable: set[int]) -> Iterator[FlowEntry]:
    """At the fabric, where the chassis cannot be reached: to the one before it.

    The present owner can be reached, so this ends.
    """
    if unreachable - {0}:
        again = (Move(_SINCE, _TIME, TIME_BITS), _LOOK_UP)
        yield FlowEntry.of(
            Table.MEMBER, Priority.DEFAULT, {}, again, "unreachable: the one before"
        )
    if 0 in unreachable:
        last = (SetField(_TIME, _LAST), _LOOK_UP)
        name = "unreachable, and nobody before"
        yield FlowEntry.of(Table.MEMBER, Priority.NORMAL, {_SINCE: 0}, last, name)


def _back_to_fabric(unreachable: set[int]) -> Iterator[FlowEntry]:
    """At a chassis, where the node cannot be reached: the fabric is asked again."""
    if unreachable:
        yield FlowEntry.of(
            *(Table.MEMBER, Priority.DEFAULT, {}, _ask_fabric()),
            "unreachable: the one before",
        )
    if 0 in unreachable:
        last = (SetField(_SINCE, _LAST), *_ask_fabric())
        name = "unreachable, and nobody before"
        yield FlowEntry.of(Table.MEMBER, Priority.NORMAL, {_SINCE: 0}, last, name)


def _ask_fabric() -> tuple[Action, ...]:
    """Actions of a chassis that ask for the owner before the time in ``_SINCE``."""
    return (
        SetField(Field.ETH_DST, SECOND_CHANCE_MAC),
        Move(_SINCE, Field.ETH_DST, TIME_BITS, destination_bit=_TIME_BIT),
        Output(IN_PORT),
    )


def _later_entries(reigns: Sequence[Reign]) -> Iterator[FlowEntry]:
    """``_SINCE`` := the later of it and the fabric's. Before it, the owner was another."""
    for since in [reign.since for reign in reigns[1:]]:
        for value, mask in prefixes(0, since - 1):
            yield FlowEntry.of(
                Table.LATER,
                Priority.POLICY,
                {_SINCE: since, _FABRIC_SINCE: Masked(value, mask)},
                (SetField(_WITHIN, 1), GotoTable(Table.STEP)),
                f"{since} is later than the fabric's",
            )
    fabrics = (Move(_FABRIC_SINCE, _SINCE, TIME_BITS), GotoTable(Table.STEP))
    yield FlowEntry.of(
        Table.LATER, Priority.DEFAULT, {}, fabrics, "the fabric's is as late"
    )


def _step_entries(answers: bool, changed: bool) -> Iterator[FlowEntry]:
    """What becomes of a stray whose member is found.

    ``answers``: whether this chassis can be the present owner; ``changed``: whether it has
    had other tables.
    """

    def entry(
        priority: Priority,
        match: Mapping[Field, Value],
        actions: tuple[Action, ...],
        name: str,
    ) -> FlowEntry:
        return FlowEntry.of(Table.STEP, priority, match, actions, name)

    answer = (SetField(Field.ETH_SRC, SECOND_CHANCE_MAC), GotoTable(Table.MEMBER))
    redirect = (
        SetField(Field.ETH_SRC, SECOND_CHANCE_MAC),
        Move(_SINCE, Field.ETH_SRC, TIME_BITS, destination_bit=_TIME_BIT),
        GotoTable(Table.MEMBER),
    )
    last, first = {_TIME: _LAST}, {_TIME: _FIRST}
    yield entry(Priority.POLICY, last, answer if answers else (), "nobody is left")
    if changed:
        here = (Move(_SINCE, _TIME, TIME_BITS), _LOOK_UP)
        within: dict[Field, Value] = {**first, _WITHIN: 1}
        yield entry(Priority.POLICY, within, here, "its owner before: in this chassis")
    yield entry(Priority.MARKED, {_SINCE: 0}, answer, "nobody had the bucket before")
    yield entry(Priority.NORMAL, first, _ask_fabric(), "its owner before: elsewhere")
    yield entry(Priority.DEFAULT, {}, redirect, "somebody had the bucket before")


SECOND_CHANCE = ResetPolicy(
    name="second-chance",
    summary="baseline: a node redirects a stray to its bucket's earlier owners",
    on_stray=OnStray.REDIRECT,
    memory=Memory.EARLIER_TABLES,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.NOBODY_HANGS,
            Promise.KEEPS_CONNECTIONS,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
    table_history=TableHistory(MAX_HISTORY, fabric_entries, chassis_entries),
)
