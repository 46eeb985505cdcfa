"""All reset policies, by name: one small module and one line each."""

from controller.policies.client_only import CLIENT_ONLY
from controller.policies.directed import DIRECTED
from controller.policies.drop import DROP
from controller.policies.flood import FLOOD
from controller.policies.flood_others import FLOOD_OTHERS
from controller.policies.out_of_band import OUT_OF_BAND
from controller.policies.policy import ResetPolicy
from controller.policies.proactive import PROACTIVE
from controller.policies.second_chance import SECOND_CHANCE
from controller.policies.stateful import STATEFUL

#: Every reset policy, by the name that specifications use.
POLICIES: dict[str, ResetPolicy] = {
    policy.name: policy
    for policy in (
        DROP,
        CLIENT_ONLY,
        FLOOD,
        FLOOD_OTHERS,
        PROACTIVE,
        DIRECTED,
        OUT_OF_BAND,
        STATEFUL,
        SECOND_CHANCE,
    )
}

__all__ = ["POLICIES", "ResetPolicy"]
