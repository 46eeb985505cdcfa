"""The whole testbed on each datapath of Open vSwitch, the kernel's and the one in user
space: what a distribution's own kernel must show (``./resetbed test --kernel NAME``).

Machines without the kernel's datapath run the other suites on the userspace datapath.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from tests.system.commands import Background, must, resetbed
from tests.system.test_scenarios import files_of_a_run, run
from topologies.domain.plan import VIP4, VIP6

pytestmark = [
    pytest.mark.live,
    pytest.mark.kernel,
    pytest.mark.stock("kernel datapath"),
]

#: What six of these guards can follow on a machine that is emulated.
SCAPYS_LOAD = "workload.connections=12", "workload.interval_ms=1000", "observe_s=6"


def assert_agreement(summary: dict[str, Any]) -> None:
    """Two instruments that measure the same thing agree, and nothing is missing."""
    measured = summary["measurement"]
    assert measured["reliable"], measured
    assert measured["owners_not_as_predicted"] == 0
    assert measured["arrivals_not_as_predicted"] == 0 < measured["arrivals_compared"]
    assert measured["half_open_by_socket_tables"] == summary["half_open"]["at_end"]


@pytest.mark.parametrize(
    ("datapath", "ip", "guard"),
    [
        ("kernel", 4, "ebpf"),
        ("kernel", 6, "ebpf"),
        ("kernel", 4, "scapy"),
        ("userspace", 6, "ebpf"),
    ],
)
def test_the_claim_is_proven(
    datapath: str, ip: int, guard: str, tmp_path: Path
) -> None:
    options = f"cluster.datapath={datapath}", f"ip={ip}", f"guard={guard}"
    few = SCAPYS_LOAD if guard == "scapy" else ()
    summary = run(tmp_path / "run", "drain-node", *options, *few)
    connections = summary["connections"]
    assert summary["datapath"]["name"] == datapath
    assert connections["reset"] == connections["moved"] > 0
    assert connections["hung"] == summary["half_open"]["at_end"] == 0
    assert summary["half_open"]["count"] == connections["moved"]
    assert {row["element"]: row["passed"] for row in summary["claim"]} == {
        f"E{n}": True for n in range(1, 6)
    }, summary["claim"]
    assert summary["wire_order"]["passed"], summary["wire_order"]
    assert_agreement(summary)
    for name in files_of_a_run():
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    asked = [word for each in (*options, *few) for word in ("--set", each)]
    # In this process: to start another takes an emulated machine many seconds.
    predicted = CliRunner().invoke(main, ["predict", "drain-node", *asked, "--json"])
    assert json.loads(predicted.stdout)["balance"] == summary["balance"]


def test_a_client_alone_leaves_its_owner_half_open(tmp_path: Path) -> None:
    options = "cluster.datapath=kernel", "policy=client-only", "observe_s=1"
    summary = run(tmp_path / "run", "drain-node", *options)
    moved = summary["connections"]["moved"]
    assert (
        summary["connections"]["reset"] == summary["half_open"]["at_end"] == moved > 0
    )
    assert summary["packets"]["tier1_copies"] == 0
    assert_agreement(summary)


@pytest.mark.parametrize("datapath", ["kernel", "userspace"])
def test_a_cluster_for_interactive_use(datapath: str) -> None:
    """A cluster is started, used, changed, examined and stopped."""
    cluster = Background.up(f"on-{datapath}", "--datapath", datapath)
    try:
        status = cluster.status()
        assert (
            status["datapath"] == {"kernel": "system", "userspace": "netdev"}[datapath]
        )
        for uri in (f"nbd://{VIP4}", f"nbd://[{VIP6}]"):
            done = cluster.execute("h2", "nbdinfo", "--size", uri)
            assert (done.returncode, int(done.stdout or 0) > 0) == (0, True), done
        done = cluster.execute(
            "c1n2", "sh", "-c", "cat; echo no >&2; exit 7", stdin="hi"
        )
        assert (done.stdout, done.stderr, done.returncode) == ("hi", "no\n", 7)
        assert "drain-node c1n2" in cluster.event("drain-node", "c1n2")
        assert cluster.status()["nodes"]["c1n2"]["state"] == "drained"
    finally:
        must(resetbed("down", "--name", cluster.name))
    gone = resetbed("status", "--name", cluster.name)
    assert (gone.returncode, "not running" in gone.stderr) == (2, True)


def test_doctor_finds_all_that_a_stock_kernel_has() -> None:
    report = json.loads(must(resetbed("doctor", "--json")))
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert report["can_run"]
    for name in ("kernel datapath", "userspace datapath", "BTF", "guard program"):
        assert states[name] == "present", name
    for name in ("sch_netem", "sch_tbf", "sch_htb", "AF_XDP"):
        assert states[name] == "present", name
