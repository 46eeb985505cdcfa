"""The hash, and the prediction made with it, without a switch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from tests.controller.clusters import H1, PLAN, network, state
from tests.controller.frames import connection, from_client
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import basis_of, owner
from topologies.domain.hashing import symmetric_l4
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import FABRIC, Client, Plan

#: Computed by Open vSwitch 3.1 (test_hash_live.py): connection, MACs, basis, hash.
GOLDEN = [
    (
        FourTuple("65.11.253.228", 6588, "231.59.231.6", 53275),
        ("3a:c4:19:32:6e:3e", "64:30:75:9e:54:f2"),
        0,
        0x2300F6AD,
    ),
    (
        FourTuple("244.102.4.178", 60726, "177.186.165.0", 46156),
        ("42:98:d5:55:90:03", "4e:0e:5a:11:cb:49"),
        1,
        0x507D506A,
    ),
    (
        FourTuple("224.100.161.23", 24774, "34.199.46.80", 17805),
        ("f2:05:23:10:e2:e6", "9c:ac:bf:ed:0e:66"),
        0xFFFF,
        0x6BF8484E,
    ),
    (
        FourTuple(
            "2086:fc10:9c29:ae5f:56b3:7935:18e7:7a76",
            47822,
            "d2d7:baad:4f97:d8c4:46f6:e4b0:5817:15be",
            23380,
        ),
        ("32:13:8f:c0:98:8c", "46:59:32:87:0d:eb"),
        1,
        0x92080135,
    ),
]


@pytest.mark.parametrize(
    ("tuple_", "macs", "basis", "expected"), GOLDEN, ids=lambda v: str(v)[:24]
)
def test_golden_vectors(
    tuple_: FourTuple, macs: tuple[str, str], basis: int, expected: int
) -> None:
    assert symmetric_l4(tuple_, *macs, basis) == expected


def test_the_hash_is_the_same_in_both_directions() -> None:
    tuple_, (source, destination), basis, expected = GOLDEN[0]
    back = FourTuple(tuple_.dst, tuple_.dport, tuple_.src, tuple_.sport)
    assert symmetric_l4(back, destination, source, basis) == expected


def test_two_ip_versions_in_one_connection_are_refused() -> None:
    with pytest.raises(ValueError, match="two IP versions"):
        symmetric_l4(FourTuple("10.0.0.1", 1, "fd00::1", 2), H1.mac, H1.mac)


memberships = st.builds(
    Membership,
    st.fixed_dictionaries({n.name: st.sampled_from(NodeState) for n in PLAN.nodes}),
    st.frozensets(st.sampled_from([c.name for c in PLAN.chassis])),
    st.frozensets(st.sampled_from([c.name for c in PLAN.chassis])),
    st.dictionaries(st.sampled_from(list(PLAN.switches)), st.integers(1, 70_000)),
)


@settings(max_examples=150)
@given(
    membership=memberships,
    balancer=st.sampled_from(sorted(BALANCERS)),
    client=st.sampled_from(PLAN.clients),
    sport=st.integers(1, 65535),
    version=st.sampled_from([4, 6]),
)
def test_the_prediction_is_the_node_that_the_flow_tables_select(
    membership: Membership, balancer: str, client: Client, sport: int, version: int
) -> None:
    current = state(membership, balancer=balancer)
    predicted = owner(
        PLAN, membership, current.balancer, connection(client, sport, version)
    )
    frame = from_client(client, sport, version)
    walked = [a.place for a in network(current).delivered(client.name, frame)]
    assert walked == ([predicted] if predicted else [])


@given(
    one=st.sampled_from([c.name for c in PLAN.chassis]),
    reseeds=st.dictionaries(
        st.sampled_from(list(PLAN.switches)), st.integers(1, 70_000)
    ),
)
def test_the_tiers_never_hash_with_one_basis(one: str, reseeds: dict[str, int]) -> None:
    membership = Membership(reseeds=reseeds)
    bases = basis_of(membership, FABRIC), basis_of(membership, one)
    assert bases[0] != bases[1]
    assert all(0 <= basis < 1 << 16 for basis in bases)


def test_a_connection_of_an_unknown_client_has_no_owner() -> None:
    current = state()
    with pytest.raises(LookupError, match=r"10\.9\.9\.9"):
        owner(
            PLAN,
            current.membership,
            current.balancer,
            FourTuple("10.9.9.9", 1, "10.0.0.1", 2),
        )


def test_the_tiers_are_not_polarised() -> None:
    """The connections of one chassis spread evenly over its nodes.

    With one basis for both tiers it would not, the more so as their sizes are the same:
    each chassis would then send everything to one of its nodes.
    """
    plan = Plan.build(chassis=3, nodes=3, clients=1)
    current = state(Membership.all_in_service(plan), plan=plan)
    owners = Counter(
        owner(plan, current.membership, current.balancer, connection(H1, sport))
        for sport in range(20000, 26000)
    )
    assert set(owners) == {node.name for node in plan.nodes}
    assert max(owners.values()) < 1.3 * min(owners.values())
