"""``drain-node``: planned removal. The node leaves the bucket table and stays up."""

from topologies.domain.arrangement import Arrangement
from topologies.domain.events.event import (
    Event,
    require_in_service,
    require_service,
    with_node,
)
from topologies.domain.membership import NodeState


def change(state: Arrangement, target: str) -> Arrangement:
    """The node is no longer balanced over, but still gets fan-out copies."""
    require_in_service(state, target)
    return require_service(with_node(state, target, NodeState.DRAINED), target)


EVENT = Event(
    kind="drain-node",
    summary="the node gets no new buckets and stays up with what it holds",
    target="a node in service, e.g. c1n2",
    change=change,
    planned=True,
)
