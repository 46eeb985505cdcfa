"""The reset policies there are, by name: one small module and one line each."""

from controller.policies.client_only import CLIENT_ONLY
from controller.policies.drop import DROP
from controller.policies.flood import FLOOD
from controller.policies.policy import ResetPolicy

#: Every reset policy, by the name that specifications use.
POLICIES: dict[str, ResetPolicy] = {
    policy.name: policy
    for policy in (
        DROP,
        CLIENT_ONLY,
        FLOOD,
    )
}

__all__ = ["POLICIES", "ResetPolicy"]
