"""Nodes drop strays silently: a moved connection hangs at both ends."""

from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray

DROP = ResetPolicy(
    name="drop",
    summary="nodes stay silent; the client hangs until its own timer fires",
    on_stray=OnStray.STAY_SILENT,
    promises=frozenset(
        (
            Promise.STAYS_SILENT,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
)
