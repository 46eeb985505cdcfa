"""Events that cannot be carried out on a real cluster, and then can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.commands import Background, must, resetbed
from topologies.domain.plan import VIP4
from topologies.runs import run_directory

pytestmark = [pytest.mark.live, pytest.mark.beside]


@pytest.fixture
def cluster() -> Iterator[Background]:
    cluster = Background.up("rollback", "--nodes", "2")
    yield cluster
    cluster.down()


def test_a_failed_event_succeeds_when_repeated(cluster: Background) -> None:
    """Somebody's interfaces have the names that the new cables are to have."""
    before = cluster.status()
    for switch, interface, event in (
        ("c1", "c1-n3", ("add-node", "c1")),
        ("fabric", "fabric-c3", ("add-chassis", "c3")),
    ):
        taken = ("ip", "link", "add", interface, "type", "veth")
        must(cluster.execute(switch, *taken))
        refused = resetbed("event", "--name", cluster.name, *event)
        assert refused.returncode == 1, refused.stdout
        assert "File exists" in refused.stderr
        assert "can be tried again" in refused.stderr
        status = cluster.status()
        assert status["nodes"].keys() == before["nodes"].keys()
        assert status["events"] == 0
    for event in ("add-node", "c1"), ("add-node", "c1"), ("add-chassis", "c3"):
        cluster.event(*event)
    status = cluster.status()
    assert {"c1n3", "c1n4", "c3n1", "c3n2"} <= status["nodes"].keys()
    switches = [status["fabric"], *status["chassis"].values()]
    assert all(switch["in_sync"] for switch in switches)
    assert not status["faults"]
    assert "export-size" in cluster.execute("h1", "nbdinfo", f"nbd://{VIP4}").stdout
    log = (run_directory(cluster.name) / "cluster" / "events.jsonl").read_text()
    assert '"restarted"' not in log, "new servers serve on"
