"""Today's ECMP: the client is reset, the old owner keeps a half-open connection."""

from controller.policies.policy import ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray

CLIENT_ONLY = ResetPolicy(
    name="client-only",
    summary="the client is reset; the old owner is left half-open",
    on_stray=OnStray.RESET,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.NOBODY_HANGS,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
)
