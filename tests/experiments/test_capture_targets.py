"""Names of what is captured, and what is said of others."""

from __future__ import annotations

import pytest

from experiments.instruments.capture_targets import Site, TargetError, sites
from topologies.domain.plan import FABRIC, Plan

PLAN = Plan.build(chassis=2, nodes=2, clients=1)
ELEMENTS = [
    *(client.name for client in PLAN.clients),
    *PLAN.switches,
    *(node.name for node in PLAN.nodes),
]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("c1n2", [Site("c1n2")]),
        ("fabric", [Site(FABRIC)]),
        ("c1:c1-n2", [Site("c1", "c1-n2")]),
        ("h1,c1n1,h1", [Site("h1"), Site("c1n1")]),
    ],
)
def test_hosts_and_their_interfaces(target: str, expected: list[Site]) -> None:
    assert list(sites(target, ELEMENTS)) == expected


def test_every_link_is_named_by_its_ends_in_any_order() -> None:
    chassis, [client, *_] = PLAN.chassis[1], PLAN.clients
    node = chassis.nodes[0]
    for one, other, site in (
        (client.name, FABRIC, Site(client.name, client.interface)),
        (chassis.name, FABRIC, Site(chassis.name, chassis.uplink_interface)),
        (node.name, chassis.name, Site(node.name, node.interface)),
    ):
        assert sites(f"{one}-{other}", ELEMENTS) == (site,)
        assert sites(f"{other}-{one}", ELEMENTS) == (site,)


@pytest.mark.parametrize(
    "target", ["", "h9", "c1-c2", "h1-c1", "c1n1-c2", "c1:", "h9:eth0", "c1n1-", "-"]
)
def test_others_are_refused_and_the_names_are_listed(target: str) -> None:
    with pytest.raises(TargetError, match="c2n2, their interfaces"):
        sites(target, ELEMENTS)
