"""Nodes drop strays silently: a moved connection hangs at both ends."""

from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise

DROP = ResetPolicy(
    name="drop",
    summary="nodes stay silent; the client hangs until its own timer fires",
    guard_answers=False,
    promises=frozenset(
        (
            Promise.STAYS_SILENT,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
)
