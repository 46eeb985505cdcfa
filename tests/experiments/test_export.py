"""A plan in other tools' formats, and that every link and host is in each of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from experiments.commands.cli import main
from experiments.commands.export_plan import FORMAT_NAMES
from experiments.export.formats import FORMATS, to_containerlab, to_dot, to_mermaid
from tests.experiments.commands_help import ok
from topologies.domain.plan import FABRIC, VIP4, Client, Node, Plan
from topologies.domain.wires import LOOP, wires

plans = st.builds(Plan.build, *(st.integers(1, 12) for _ in range(3)))


def links(plan: Plan) -> Counter[frozenset[str]]:
    """The pairs of elements that are joined, however they are written."""
    return Counter(frozenset((wire.upper, wire.lower)) for wire in wires(plan))


@given(plans)
def test_every_link_is_drawn_once(plan: Plan) -> None:
    dot = re.findall(r'"(\w+)" -- "(\w+)";', to_dot(plan))
    mermaid = re.findall(r"^ +(\w+)\S* --- (\w+)", to_mermaid(plan), re.M)
    expected = links(plan)
    assert Counter(map(frozenset, dot)) == expected
    assert Counter(map(frozenset, mermaid)) == expected


@given(plans)
def test_containerlab_gets_every_element_link_and_address(plan: Plan) -> None:
    text = to_containerlab(plan)
    topology: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)["topology"]
    hosts: list[Client | Node] = [*plan.clients, *plan.nodes]
    assert set(topology["nodes"]) == {*plan.switches, *(host.name for host in hosts)}
    ends = [end for link in topology["links"] for end in link["endpoints"]]
    assert len(ends) == len(set(ends)) == 2 * (sum(links(plan).values()) + 1)
    assert {end.split(":")[0] for end in ends} == set(topology["nodes"])
    assert f"{FABRIC}:{LOOP.lower_interface}" in ends
    for host in hosts:
        commands = topology["nodes"][host.name]["exec"]
        assert f"ip link set dev {host.interface} address {host.mac}" in commands
        assert any(f" {host.ipv4}/" in command for command in commands)
        holds_vip = f"ip address replace {VIP4}/32 dev lo" in commands
        assert holds_vip == isinstance(host, Node)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_command_prints_each_format(name: str) -> None:
    text = ok(CliRunner().invoke(main, ["export", "--format", name, "--chassis", "3"]))
    assert text == FORMATS[name](Plan.build(3, 3, 2))


def test_there_are_no_other_formats() -> None:
    assert list(FORMATS) == list(FORMAT_NAMES)
