"""Mininet's own ``mn`` builds the cluster, with its own hosts and switches."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import topologies

pytestmark = [pytest.mark.live, pytest.mark.beside, pytest.mark.sandboxed]

CUSTOM = Path(topologies.__file__).parent / "cluster.py"

#: One Open vSwitch for the whole sandbox, at the default paths.
STOCK_OVS = """
ovsdb-tool create /etc/openvswitch/conf.db
ovsdb-server --detach --pidfile --remote=punix:/run/openvswitch/db.sock -vconsole:off
ovs-vsctl --no-wait init
ovs-vswitchd --detach --pidfile -vconsole:off --disable-system
"""


def test_mn_builds_it_and_every_host_reaches_every_other() -> None:
    subprocess.run(["sh", "-ec", STOCK_OVS], check=True)
    mn = ["mn", f"--custom={CUSTOM}", "--topo=cluster,2,3,2", "--controller=none"]
    mn += ["--switch=ovsbr,datapath=user", "--test=pingall"]
    # From a directory without our files, by the system's own Python.
    built = subprocess.run(mn, cwd="/", capture_output=True, text=True, check=True)
    assert "0% dropped (56/56 received)" in built.stderr
