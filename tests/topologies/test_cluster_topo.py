"""The topology of a plan has the plan's names and ports; without root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import topologies
from topologies.cluster import ClusterTopo
from topologies.domain.plan import FABRIC, UPLINK_PORT, Plan, PlanError

PACKAGE = Path(topologies.__file__).parent


@pytest.fixture
def plan() -> Plan:
    return Plan.of_shape([3, 1], clients=2)


@pytest.fixture
def topo(plan: Plan) -> ClusterTopo:
    return ClusterTopo(plan=plan)


def test_sizes_and_plan_build_the_same() -> None:
    by_sizes, by_plan = ClusterTopo(2, 3, 4), ClusterTopo(plan=Plan.build(2, 3, 4))
    assert by_sizes.links(withInfo=True) == by_plan.links(withInfo=True)


def test_hosts_and_switches_are_the_plans(topo: ClusterTopo, plan: Plan) -> None:
    clients = [client.name for client in plan.clients]
    assert sorted(topo.hosts()) == sorted(clients + [node.name for node in plan.nodes])
    assert {s: int(topo.nodeInfo(s)["dpid"], 16) for s in topo.switches()} == dict(
        plan.switches
    )


def test_every_node_is_on_its_port(topo: ClusterTopo, plan: Plan) -> None:
    for node in plan.nodes:
        info = topo.linkInfo(node.name, f"c{node.chassis}")
        assert (info["port2"], info["addr1"]) == (node.port, node.mac)
        assert info["intfName1"] == node.interface
        assert info["intfName2"] == node.switch_interface


def test_every_client_is_on_its_port(topo: ClusterTopo, plan: Plan) -> None:
    for client in plan.clients:
        info = topo.linkInfo(client.name, FABRIC)
        assert (info["port2"], info["addr1"]) == (client.fabric_port, client.mac)
        assert info["intfName1"] == client.interface
        assert info["intfName2"] == client.fabric_interface


def test_every_chassis_has_one_uplink(topo: ClusterTopo, plan: Plan) -> None:
    for chassis in plan.chassis:
        info = topo.linkInfo(chassis.name, FABRIC)
        assert (info["port1"], info["port2"]) == (UPLINK_PORT, chassis.fabric_port)
    assert len(topo.links()) == len(plan.clients) + len(plan.chassis) + 4


def test_a_size_out_of_range_is_refused() -> None:
    with pytest.raises(PlanError):
        ClusterTopo(0)


def test_it_loads_as_mn_loads_it(tmp_path: Path) -> None:
    """By exec, with a relative name, in an interpreter without our path."""
    shutil.copytree(PACKAGE, tmp_path / "topologies")
    load = (
        "name = 'topologies/cluster.py'; customs = {}\n"
        "exec(compile(open(name).read(), name, 'exec'), customs, customs)\n"
        "print(len(customs['topos']['cluster'](2, 3, 2).hosts()))"
    )
    argv = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
    loaded = subprocess.run(
        [*argv, "-c", load], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (loaded.stdout, loaded.stderr) == ("8\n", "")


def test_as_a_script_it_executes_the_launcher(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "topologies")
    launcher = tmp_path / "resetbed"
    launcher.write_text('#!/bin/sh\necho "$@"\nexit 4\n')
    launcher.chmod(0o755)
    script = tmp_path / "topologies" / "cluster.py"
    ran = subprocess.run(
        [script, "--chassis", "4", "--reset", "drop"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "console --chassis=4 --nodes=3 --clients=2 --reset drop\n"
    assert ran.returncode == 4
