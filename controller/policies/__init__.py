"""All reset policies, by name: one small module and one line each."""

from controller.policies.policy import ResetPolicy
from topologies.domain.registry import gathered

#: A line each, in the order in which they are listed.
_MODULES = (
    "drop",
    "client_only",
    "flood",
    "flood_others",
    "proactive",
    "ctdb",
    "directed",
    "out_of_band",
    "stateful",
    "jet",
    "second_chance",
)

#: Every reset policy, by the name that specifications use.
POLICIES: dict[str, ResetPolicy] = {
    policy.name: policy for policy in gathered(__name__, _MODULES, ResetPolicy)
}


def require_pins(policy: str) -> None:
    """Raises :class:`LookupError` if the policy of that name pins no connections."""
    if not POLICIES[policy].pins:
        able = ", ".join(name for name, one in POLICIES.items() if one.pins)
        raise LookupError(
            f"policy {policy!r} pins no connections; those that do: {able}"
        )


__all__ = ["POLICIES", "ResetPolicy", "require_pins"]
