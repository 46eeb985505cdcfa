"""The balancing algorithms there are, by name: one small module and one line each."""

from controller.balancers.balancer import Balancer
from controller.balancers.hash_threshold import HASH_THRESHOLD
from controller.balancers.maglev import MAGLEV
from controller.balancers.modulo import MODULO
from controller.balancers.rendezvous import RENDEZVOUS
from controller.balancers.resilient import RESILIENT
from controller.balancers.ring import RING

#: Every balancing algorithm, by the name that specifications use.
BALANCERS: dict[str, Balancer] = {
    balancer.name: balancer
    for balancer in (
        MODULO,
        HASH_THRESHOLD,
        RENDEZVOUS,
        MAGLEV,
        RING,
        RESILIENT,
    )
}

__all__ = ["BALANCERS", "Balancer"]
