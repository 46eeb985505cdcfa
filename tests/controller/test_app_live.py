"""The controller against a real Open vSwitch, under os-ken and under Ryu."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.balancers import BALANCERS
from controller.flows.flow_tables import Table
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from controller.service.controller_client import ApplyResult, ControllerError
from tests.controller.clusters import ALL_IN_SERVICE, H1, PLAN, state, then
from tests.controller.controllers import ControllerProcess
from tests.controller.dummy_ports import segment, send
from tests.controller.frames import connection
from tests.controller.switches import VSwitch, wait_until
from topologies.domain.connection import FourTuple
from topologies.domain.membership import NodeState
from topologies.domain.plan import GATEWAY_MAC, VIP_MAC

pytestmark = [pytest.mark.live, pytest.mark.beside]

FLOOD = state()
DRAINED = state(ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED))
BRIDGES = list(PLAN.switches)
C1N1 = PLAN.find_node("c1n1")


def differences(switch: VSwitch, wanted: ClusterState) -> str:
    """Differences between the switches' entries and the pipeline's, by ovs-ofctl."""
    found = ""
    for bridge, entries in wanted.tables().items():
        file = switch.directory / f"{bridge}.flows"
        file.write_text("".join(f"{entry}\n" for entry in entries))
        found += switch.differences(bridge, file)
    return found


def changes(applied: ApplyResult) -> dict[str, tuple[int, int]]:
    """Entries added and deleted, by the switch, where there were any."""
    return {
        name: (change.added, change.deleted)
        for name, change in applied.switches.items()
        if change.added or change.deleted
    }


def test_the_switches_get_exactly_the_pipelines_entries(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.serve(state(policy="drop"))
    every = [state(policy=policy) for policy in POLICIES]
    every += [state(balancer=balancer) for balancer in BALANCERS]
    for wanted in every:
        os_ken.client.apply(wanted)
        assert differences(cluster, wanted) == "", (wanted.policy, wanted.balancer)


def test_under_either_framework_the_switches_follow_the_state(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    controller.serve(FLOOD)
    assert set(controller.client.status()) == set(BRIDGES)
    assert differences(cluster, FLOOD) == ""
    for wanted in (
        DRAINED,
        state(ALL_IN_SERVICE.with_chassis_failed("c2"), "client-only"),
        state(balancer="rendezvous"),
        *(then(state(policy=policy), DRAINED.membership) for policy in POLICIES),
        FLOOD,
    ):
        applied = controller.client.apply(wanted)
        assert applied.requested_s <= applied.applied_s
        assert applied.settled_s is not None
        assert applied.applied_s <= applied.settled_s
        controller.client.wait_in_sync()
        assert differences(cluster, wanted) == ""


def test_an_event_touches_only_the_switches_whose_members_change(
    controller: ControllerProcess,
) -> None:
    controller.serve(FLOOD)
    assert list(changes(controller.client.apply(DRAINED))) == ["c1"]
    assert changes(controller.client.apply(DRAINED)) == {}


def test_a_controller_that_is_killed_and_returns_changes_nothing(
    controller: ControllerProcess,
) -> None:
    controller.serve(FLOOD)
    controller.kill()
    seen = len(controller.log.read_text())
    controller.start()
    controller.client.wait_in_sync()
    said = controller.log.read_text()[seen:]
    for bridge in BRIDGES:
        assert f"{bridge}: 0 entries added, 0 deleted" in said
    assert changes(controller.client.apply(FLOOD)) == {}


def test_changes_while_the_controller_was_dead_are_repaired(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    controller.serve(FLOOD)
    controller.kill()
    cluster.ofctl("add-flow", "c1", "table=0,priority=500,actions=output:1")
    cluster.ofctl("del-flows", "c2", "table=2")
    cluster.ofctl("add-flow", "fabric", "table=1,priority=100,actions=drop")
    controller.start(DRAINED)
    controller.client.wait_in_sync()
    assert differences(cluster, DRAINED) == ""


MEDDLING = [
    "add-flow table=0,priority=7,tcp,nw_frag=no,tcp_flags=+syn,actions=drop",
    "add-flow table=9,ipv6,ipv6_src=fd00::/16,ct_state=+trk,actions=normal",
    "add-flow table=1,priority=100,actions=drop",
    "mod-flows table=2,actions=drop",
    "del-flows table=2",
    "del-flows",
]


def test_a_change_by_others_is_undone(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    controller.serve(FLOOD)
    for number, meddling in enumerate(MEDDLING, start=1):
        command, *flow = meddling.split()
        cluster.ofctl(command, "c1", *flow)
        wait_until(lambda: differences(cluster, FLOOD) == "", meddling)
        log = controller.log.read_text()
        assert log.count("entries changed by others") >= number


def test_a_switch_that_reconnects_is_reconciled_by_itself(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    controller.serve(FLOOD)
    cluster.vsctl("del-controller", "c1")
    wait_until(
        lambda: not controller.client.status()["c1"].connected,
        "c1 has gone",
    )
    cluster.ofctl("del-flows", "c1")
    controller.connect(["c1"])
    controller.client.wait_in_sync()
    assert differences(cluster, FLOOD) == ""


def test_a_refused_entry_fails_the_request_with_the_switchs_name(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    """A switch without space for more buckets, then with space."""
    controller.serve(FLOOD)
    cluster.vsctl(
        *("--", "--id=@t", "create", "Flow_Table"),
        *("flow_limit=3", "overflow_policy=refuse"),
        *("--", "set", "Bridge", "c2", "flow_tables:2=@t"),
    )
    rendezvous = state(balancer="rendezvous")
    with pytest.raises(ControllerError, match="switch c2 refused .*TABLE_FULL"):
        controller.client.apply(rendezvous)
    # All or nothing: c2 is unchanged, and the fabric was not updated.
    untouched = FLOOD.tables()
    for bridge in ("c2", "fabric"):
        file = cluster.directory / "before.flows"
        file.write_text("".join(f"{entry}\n" for entry in untouched[bridge]))
        assert cluster.differences(bridge, file) == ""
    cluster.vsctl("clear", "Bridge", "c2", "flow_tables")
    controller.client.wait_in_sync()
    assert differences(cluster, rendezvous) == ""


def test_a_missing_switch_is_named_and_later_gets_the_state(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.start(FLOOD)
    os_ken.connect(["fabric", "c1"])
    with pytest.raises(ControllerError, match="not connected: switch c2"):
        os_ken.client.apply(DRAINED, timeout_s=0.3)
    os_ken.connect(["c2"])
    os_ken.client.wait_in_sync()
    assert differences(cluster, DRAINED) == ""


def test_a_request_waits_for_a_switch_that_is_connecting(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.start()
    assert os_ken.client.status() == {}
    with ThreadPoolExecutor() as pool:
        ordered = pool.submit(os_ken.client.apply, FLOOD)
        cluster.connect(BRIDGES, os_ken.listen)
        assert set(ordered.result().switches) == set(BRIDGES)
    assert differences(cluster, FLOOD) == ""


def test_a_failed_chassis_is_not_waited_for(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.start(FLOOD)
    os_ken.connect(["fabric", "c1"])
    failed = state(ALL_IN_SERVICE.with_chassis_failed("c2"))
    assert set(os_ken.client.apply(failed).switches) == {"fabric", "c1"}


def test_an_unknown_switch_gets_no_messages_until_a_plan_has_it(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.serve(FLOOD)
    grown, chassis = PLAN.with_chassis(2)
    cluster.add_bridge(chassis.name, chassis.dpid, [], "dummy")
    cluster.connect([chassis.name], os_ken.listen)
    wait_until(
        lambda: "refused" in os_ken.log.read_text(), "the unknown switch is refused"
    )
    cluster.ofctl("add-flow", chassis.name, "table=0,priority=1,actions=drop")
    assert cluster.ofctl("dump-flows", chassis.name).count("cookie") == 1
    wanted = state(plan=grown)
    applied = os_ken.client.apply(wanted)
    # The new chassis is ready before the fabric sends it anything.
    assert applied.switches["c3"].applied_s <= applied.switches["fabric"].applied_s
    assert differences(cluster, wanted) == ""


def test_a_chassis_that_leaves_is_updated_after_the_fabric(
    os_ken: ControllerProcess,
) -> None:
    os_ken.serve(FLOOD)
    leaving = ALL_IN_SERVICE
    for number in (1, 2, 3):
        leaving = leaving.with_node(f"c2n{number}", NodeState.DRAINED)
    applied = os_ken.client.apply(state(leaving))
    assert set(changes(applied)) == {"fabric", "c2"}
    assert applied.switches["fabric"].applied_s <= applied.switches["c2"].applied_s


def test_a_request_is_not_complete_before_the_switch_has_settled(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.serve(FLOOD)
    # From here on no megaflow is revalidated.
    cluster.appctl("revalidator/pause")
    with pytest.raises(ControllerError, match=r"vswitchd\.ctl: timed out"):
        os_ken.client.apply(DRAINED, timeout_s=0.5)
    cluster.appctl("revalidator/resume")
    os_ken.client.apply(FLOOD)


def test_a_replaced_entry_keeps_its_counters(
    os_ken: ControllerProcess, cluster: VSwitch
) -> None:
    os_ken.serve(FLOOD)
    stray = connection(H1, 40001)
    back = FourTuple(stray.dst, stray.dport, stray.src, stray.sport)
    reset = segment(back, C1N1.mac, GATEWAY_MAC, "R")
    send(cluster, "c1n1", reset)

    def copied() -> bool:
        return "n_packets=1," in cluster.ofctl("dump-flows", "c1", "table=4")

    wait_until(copied, "a reset has been copied to the nodes of c1")
    fewer = state(ALL_IN_SERVICE.with_node("c1n3", NodeState.FAILED))
    assert "c1" in changes(os_ken.client.apply(fewer))
    assert copied()


def test_learned_entries_are_left_alone(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    def learned() -> int:
        said = cluster.ofctl("dump-aggregate", "fabric", f"table={int(Table.LEARNED)}")
        return int(said.partition("flow_count=")[2])

    controller.serve(state(policy="stateful"))
    for version in (4, 6):
        for sport in range(40001, 40011):
            one = connection(H1, sport, version)
            send(cluster, "h1", segment(one, H1.mac, VIP_MAC, "S"))
    wait_until(lambda: learned() == 20, "every connection has been learned")
    controller.client.apply(then(state(policy="stateful"), DRAINED.membership))
    controller.kill()
    seen = len(controller.log.read_text())
    controller.start()
    controller.client.wait_in_sync()
    assert learned() == 20
    assert "changed by others" not in controller.log.read_text()
    assert "fabric: 0 entries added, 0 deleted" in controller.log.read_text()[seen:]


def test_a_controller_that_died_before_it_applied_a_state_keeps_the_tiers_order(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    """Its successor finds the new state in the file, in which c2 serves again. The switch
    of c2 is not connected yet, so the fabric must not send it anything."""
    leaving = ALL_IN_SERVICE
    for number in (1, 2, 3):
        leaving = leaving.with_node(f"c2n{number}", NodeState.DRAINED)
    without = state(leaving)
    controller.serve(without)
    cluster.vsctl("del-controller", "c2")
    wait_until(
        lambda: not controller.client.status()["c2"].connected,
        "c2 has gone",
    )
    controller.kill()
    controller.start(then(without, ALL_IN_SERVICE))
    waits = "fabric is operating: updated with its tier"
    wait_until(lambda: waits in controller.log.read_text(), waits)
    tables = without.tables()["fabric"]
    file = cluster.directory / "before.flows"
    file.write_text("".join(f"{entry}\n" for entry in tables))
    assert cluster.differences("fabric", file) == ""
    seen = len(controller.log.read_text())
    controller.connect(["c2"])
    controller.client.wait_in_sync()
    said = controller.log.read_text()[seen:]
    assert said.index("c2: ") < said.index("fabric: ")
    assert differences(cluster, FLOOD) == ""
