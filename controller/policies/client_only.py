"""ECMP as it is today: the client is reset, the old owner keeps a half-open connection."""

from controller.policies.policy import ResetPolicy

CLIENT_ONLY = ResetPolicy(
    name="client-only",
    summary="the client is reset; the old owner is left half-open",
    guard_answers=True,
)
