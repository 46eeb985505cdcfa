"""A small ladder of a reset, as far as the sockets of both ends told of it; pure.

The ladder of a run (:mod:`experiments.ladder`) is drawn from a capture. Here nothing was
captured, so no arrow is drawn and no element of the claim is named, and the drawing says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.ladder.ladder import (
    CLIENT,
    CLIENT_RESET,
    FREED,
    HELD,
    NODE,
    Column,
    Ladder,
    Mark,
)
from experiments.ladder.svg import ladder_svg
from experiments.watch.seen_resets import SeenReset
from topologies.domain.connection import format_connection

#: What stands under each drawing.
NOT_SEEN = (
    "Seen: what each kernel did to its socket. "
    "Not seen: the stray, the RST and its copies on the wire; a run's capture has them."
)


def seen_ladder_svg(reset: SeenReset) -> str:
    """The text of the SVG file."""
    return ladder_svg(seen_ladder(reset))


def seen_ladder(reset: SeenReset) -> Ladder:
    """The diagram of what was seen: lifelines and marks, and no arrow. The second node is that
    of the present tables."""
    return Ladder(
        f"Reset of {format_connection(reset.connection)}",
        tuple(_columns(reset)),
        (),
        tuple(_marks(reset)),
        reset.start_ns,
        note=NOT_SEEN,
    )


def _columns(reset: SeenReset) -> Iterator[Column]:
    yield Column(reset.client, CLIENT, note="client")
    if reset.owner:
        yield Column(reset.owner, NODE, _chassis(reset.owner), "owner")
    if reset.new_node and reset.new_node != reset.owner:
        yield Column(reset.new_node, NODE, _chassis(reset.new_node), "second node")


def _chassis(node: str) -> str:
    return node.partition("n")[0]


def _marks(reset: SeenReset) -> Iterator[Mark]:
    text = "client's socket is reset"
    yield Mark(CLIENT_RESET, reset.client, reset.client_ns, text, "")
    if reset.owner is None:
        return
    if reset.freed_ns is None:
        yield Mark(HELD, reset.owner, None, f"{reset.owner} still held it", "")
    else:
        by = "by a RST" if reset.by_reset else "without a RST"
        text = f"{reset.owner} frees the connection, {by}"
        yield Mark(FREED, reset.owner, reset.freed_ns, text, "")
