"""Nodes drop what they do not recognise: a moved connection hangs at both ends."""

from controller.policies.policy import ResetPolicy

DROP = ResetPolicy(
    name="drop",
    summary="nodes stay silent; the client hangs until its own timer fires",
    guard_answers=False,
)
