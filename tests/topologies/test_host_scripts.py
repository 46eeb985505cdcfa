"""The scripts that configure hosts, read as text: addresses, neighbours, settings."""

from __future__ import annotations

from typing import TypeVar

import pytest

from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.plan import (
    CLIENTS4,
    CLIENTS6,
    GATEWAY4,
    GATEWAY6,
    GATEWAY_MAC,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
    Node,
    Plan,
)
from topologies.hosts import SYSCTLS, StorageClient, StorageHost, StorageNode
from topologies.shaping import tc_commands
from topologies.socket_tables import derived_limits

PLAN = Plan.build(chassis=2, nodes=2, clients=2)
NODE, CLIENT = PLAN.find_node("c2n1"), PLAN.clients[1]

H = TypeVar("H", bound=StorageHost)


def host(kind: type[H], element: Node | Client, link: LinkOptions = UNSHAPED) -> H:
    """A host without its shell, which only root can start in namespaces."""
    made = kind.__new__(kind)
    made.element, made.link, made.sysctls = element, link, {}
    return made


HOSTS = [host(StorageNode, NODE), host(StorageClient, CLIENT)]
each_host = pytest.mark.parametrize("one", HOSTS, ids=["node", "client"])


def batch(script: str, tool: str) -> list[str]:
    """The lines that the script gives to ``ip -batch`` or ``tc -batch``."""
    _, found, rest = script.partition(f"{tool} -batch - <<END\n")
    return rest.partition("\nEND\n")[0].splitlines() if found else []


def test_a_node_has_the_settings_that_it_is_given_and_a_client_has_none() -> None:
    node = host(StorageNode, NODE)
    node.sysctls = {"net/ipv4/tcp_keepalive_time": 60}
    line = "echo 60 >/proc/sys/net/ipv4/tcp_keepalive_time\n"
    assert line in node.script()
    assert not any("keepalive" in each.script() for each in HOSTS)


@each_host
def test_a_host_has_its_own_addresses_on_its_own_interface(one: StorageHost) -> None:
    commands = batch(one.script(), "ip")
    for address in (one.element.ipv4, one.element.ipv6):
        (found,) = [line for line in commands if f" {address}/" in line]
        assert found.startswith("address replace ")
        assert found.endswith(f" dev {one.element.interface}")


def test_only_a_node_holds_the_virtual_address_and_on_its_loopback_alone() -> None:
    node, client = (batch(each.script(), "ip") for each in HOSTS)
    assert f"address replace {VIP4}/32 dev lo" in node
    assert f"address replace {VIP6}/128 dev lo" in node
    held = [line for line in node if VIP4 in line.split("/")[0].split()]
    assert len(held) == 1
    assert not [line for line in client if line.startswith("address") and VIP4 in line]


def test_a_node_reaches_clients_by_the_gateway_without_asking_for_it() -> None:
    commands = batch(HOSTS[0].script(), "ip")
    device = f"dev {NODE.interface}"
    for gateway, clients in ((GATEWAY4, CLIENTS4), (GATEWAY6, CLIENTS6)):
        known = f"neigh replace {gateway} lladdr {GATEWAY_MAC} nud permanent {device}"
        route = f"route replace {clients} via {gateway} {device} onlink"
        assert commands.index(known) < commands.index(route)


def test_a_client_knows_the_virtual_neighbour_of_ipv6_and_asks_for_ipv4s() -> None:
    neighbours = [c for c in batch(HOSTS[1].script(), "ip") if c.startswith("neigh")]
    device = f"dev {CLIENT.interface}"
    assert neighbours == [
        f"neigh replace {VIP6} lladdr {VIP_MAC} nud permanent {device}"
    ]


@each_host
def test_links_are_up_before_what_needs_them(one: StorageHost) -> None:
    commands = batch(one.script(), "ip")
    up = commands.index(f"link set dev {one.element.interface} up")
    needs = [
        n for n, line in enumerate(commands) if line.startswith(("neigh", "route"))
    ]
    assert min(needs) > up
    assert commands[0] == "link set dev lo up"


@each_host
def test_a_script_can_be_run_again(one: StorageHost) -> None:
    """``add`` would fail for what is there; ``replace`` and ``set`` do not."""
    verbs = {line.split()[1] for line in batch(one.script(), "ip")}
    assert verbs == {"set", "replace"}
    assert one.script() == one.script()


@each_host
def test_every_setting_is_made_before_the_interface_is_up(one: StorageHost) -> None:
    script = one.script()
    settings = script[: script.index("ip -batch")].splitlines()
    assert all(line.startswith("echo ") for line in settings)
    assert "{" not in script, "every place is filled in"
    for path, value in SYSCTLS.items():
        own = path.format(interface=one.element.interface)
        assert f"echo {value} >/proc/sys/{own}" in settings
    for path, value in derived_limits().items():
        assert f"echo {value} >/proc/sys/{path}" in settings


@each_host
def test_a_power_failure_resets_sockets_before_the_interface_is_down(
    one: StorageHost,
) -> None:
    script = one.power_off_script()
    assert script.index("--kill") < script.index("link set dev")
    assert f"ip link set dev {one.element.interface} down" in script
    assert "{" not in script.replace("|| {", "")


def test_a_link_is_shaped_only_as_configured_and_on_the_hosts_interface() -> None:
    link = LinkOptions(rate_mbit=10, delay_ms=1)
    shaped = batch(host(StorageNode, NODE, link).script(), "tc")
    assert shaped == [*tc_commands(link, NODE.interface)]
    assert len(shaped) == 2
    assert "tc -batch" not in HOSTS[0].script()
