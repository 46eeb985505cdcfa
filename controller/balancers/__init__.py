"""The balancing algorithms there are, by name: one small module and one line each."""

from controller.balancers.balancer import Balancer
from controller.balancers.modulo import MODULO
from controller.balancers.rendezvous import RENDEZVOUS

#: Every balancing algorithm, by the name that specifications use.
BALANCERS: dict[str, Balancer] = {
    balancer.name: balancer
    for balancer in (
        MODULO,
        RENDEZVOUS,
    )
}

__all__ = ["BALANCERS", "Balancer"]
