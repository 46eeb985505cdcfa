"""``uplink-up``: the link between the fabric and a chassis is up again."""

from dataclasses import replace

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions


def change(state: Arrangement, target: str) -> Arrangement:
    """The chassis is balanced over again, unless it has failed meanwhile.

    Its nodes still hold all their connections. Those that clients gave up are half open.
    """
    name = state.plan.find_chassis(target).name
    if name not in state.membership.cut_off_chassis:
        raise EventError(f"{name} is not cut off: its uplink is up")
    return replace(state, membership=state.membership.with_chassis_connected(name))


def apply_to_machines(
    machines: MachineActions, old: Arrangement, new: Arrangement, target: str
) -> None:
    """Set the link up before the fabric sends anything over it."""
    machines.set_uplink_up(old.plan.find_chassis(target))


EVENT = Event(
    kind="uplink-up",
    summary="a chassis that was cut off serves again, its nodes with what they held",
    target="a chassis that is cut off, e.g. c2",
    change=change,
    planned=True,
    apply_to_machines=apply_to_machines,
)
