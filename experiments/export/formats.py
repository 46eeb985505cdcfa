"""A plan as Graphviz dot, as Mermaid, and as a containerlab topology; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import yaml

from topologies.domain.addressing import ip_commands
from topologies.domain.plan import FABRIC, VIP4, VIP6, Client, Node, Plan
from topologies.domain.wires import LOOP, wires

#: The hosts' image for containerlab: that of our Containerfile; any with iproute2 does.
IMAGE = "resetbed"

_CONTAINERLAB_HEAD = """\
# Topology of resetbed for containerlab: wires and addresses.
# The bridges must exist before, one for each switch:
{bridges}
# The hosts' image is that of the Containerfile; any with iproute2 does.
# What the bridges do is in the flow tables that a run leaves in its folder. Their entries count on
# the port numbers of topologies/domain/plan.py (ofport_request in ovs-vswitchd.conf.db(5)).
"""


def to_dot(plan: Plan) -> str:
    """For dot(1): clients above, the fabric, chassis, nodes below."""
    lines = ["graph resetbed {", "  rankdir=TB;", "  node [shape=box];"]
    lines += [f'  "{FABRIC}" [shape=ellipse, label="{FABRIC}\\n{VIP4}\\n{VIP6}"];']
    lines += [f'  "{chassis.name}" [shape=ellipse];' for chassis in plan.chassis]
    for host in _hosts(plan):
        lines.append(f'  "{host.name}" [label="{host.name}\\n{host.ipv4}"];')
    ranked = "; ".join(f'"{client.name}"' for client in plan.clients)
    lines.append(f"  {{ rank=source; {ranked} }}")
    for wire in wires(plan):
        above, below = wire.upper, wire.lower
        if any(client.name == below for client in plan.clients):
            above, below = below, above
        lines.append(f'  "{above}" -- "{below}";')
    return "\n".join([*lines, "}", ""])


def to_mermaid(plan: Plan) -> str:
    """A flowchart for Mermaid, as GitHub and GitLab render it in Markdown."""
    lines = ["flowchart TB", f'  {FABRIC}(["{FABRIC}<br/>{VIP4}<br/>{VIP6}"])']
    for client in plan.clients:
        lines.append(f'  {client.name}["{client.name}<br/>{client.ipv4}"] --- {FABRIC}')
    for chassis in plan.chassis:
        lines.append(f'  {FABRIC} --- {chassis.name}(["{chassis.name}"])')
        for node in chassis.nodes:
            label = f'{node.name}["{node.name}<br/>{node.ipv4}"]'
            lines.append(f"  {chassis.name} --- {label}")
    return "\n".join([*lines, ""])


def to_containerlab(plan: Plan) -> str:
    """A ``*.clab.yml``: Linux hosts with their addresses, and Open vSwitch bridges."""
    switches = {name: {"kind": "ovs-bridge"} for name in plan.switches}
    hosts = {host.name: _host(host) for host in _hosts(plan)}
    links = [
        {
            "endpoints": [
                f"{w.upper}:{w.upper_interface}",
                f"{w.lower}:{w.lower_interface}",
            ]
        }
        for w in (*wires(plan), LOOP)
    ]
    topology = {"nodes": {**switches, **hosts}, "links": links}
    bridges = "\n".join(f"#   ovs-vsctl add-br {name}" for name in plan.switches)
    # libyaml's: a rack has thousands of lines.
    text: str = yaml.dump(
        {"name": "resetbed", "topology": topology},
        Dumper=yaml.CSafeDumper,
        sort_keys=False,
        width=1000,
    )
    return _CONTAINERLAB_HEAD.format(bridges=bridges) + text


def _hosts(plan: Plan) -> tuple[Node | Client, ...]:
    return (*plan.clients, *plan.nodes)


def _host(host: Node | Client) -> dict[str, object]:
    """Without containerlab's management network, which would be a second path."""
    return {
        "kind": "linux",
        "image": IMAGE,
        "network-mode": "none",
        "exec": [*_commands(host)],
    }


def _commands(host: Node | Client) -> Iterator[str]:
    yield f"ip link set dev {host.interface} address {host.mac}"
    for command in ip_commands(host):
        yield f"ip {command}"


FORMATS: dict[str, Callable[[Plan], str]] = {
    "dot": to_dot,
    "mermaid": to_mermaid,
    "containerlab": to_containerlab,
}
