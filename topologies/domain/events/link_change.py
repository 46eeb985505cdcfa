"""``link``: what a host sends is shaped from now on; no member joins or leaves.

It is no membership event: no table changes and no connection moves. So it is in no
registry of those, and only specs have it: a running cluster has ``./resetbed link``.
"""

from collections.abc import Mapping
from typing import Any

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import Event, EventError, MachineActions
from topologies.domain.link_options import LinkOptions

#: The name that specs use.
LINK = "link"


def link_change(link: LinkOptions) -> Event:
    """The event that shapes its target's link like that."""

    def apply_to_machines(
        machines: MachineActions, old: Arrangement, new: Arrangement, target: str
    ) -> None:
        machines.shape_link(target, link)

    return Event(
        kind=LINK,
        summary="rate, delay and loss of what a host sends change",
        target="a client or a node, e.g. h1",
        change=change,
        planned=True,
        apply_to_machines=apply_to_machines,
        link=link,
    )


def change(state: Arrangement, target: str) -> Arrangement:
    """The same state. Raises :class:`EventError` if there is no such host in it."""
    clients = [client.name for client in state.plan.clients]
    if target not in (*clients, *(node.name for node in state.plan.nodes)):
        raise EventError(
            f"no host {target!r}: a link is that of a client ({clients[0]} to "
            f"{clients[-1]}) or of a node, e.g. c1n2"
        )
    return state


def described(kind: str, target: str, link: LinkOptions | None = None) -> str:
    """An event for people; ``link``: what a link is shaped to.

    >>> described("drain-node", "c1n2"), described("link", "h1", LinkOptions(delay_ms=5))
    ('drain-node c1n2', 'link h1 (5 ms)')
    """
    return f"{kind} {target}" + (f" ({link})" if link else "")


def link_in(event: Mapping[str, Any]) -> LinkOptions | None:
    """What a link was shaped to, from an event as JSON; None for a membership event."""
    if event["kind"] != LINK:
        return None
    return LinkOptions(event["rate_mbit"], event["delay_ms"], event["loss_percent"])
