"""What links with a rate, a delay or a loss need of the kernel, and whether it is there."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from experiments.doctor import kernel_probes
from experiments.machine.machine import Finding, State
from experiments.machine.requirements import RequirementMissing
from topologies.shaping import LinkOptions


def require(links: LinkOptions) -> None:
    """Nothing, where links can be like that; tries it, if need be, in a sandbox.

    To be called before anything is built. Raises
    :class:`~experiments.machine.requirements.RequirementMissing`.
    """
    needed = tuple(links.required_qdiscs())
    if needed and (reasons := [*missing_reasons(links, _found(needed))]):
        raise RequirementMissing("; ".join(reasons))


def missing_reasons(links: LinkOptions, found: Mapping[str, Finding]) -> Iterator[str]:
    """A sentence for each option that the kernel cannot serve; ``found`` by trial."""
    for kind, options in links.required_qdiscs().items():
        finding = found[probe_of(kind)]
        if finding.state is State.MISSING:
            yield (
                f"links: {options} needs the queueing discipline {kind}, which this "
                f"kernel lacks ({finding.detail}). It is the module sch_{kind}: part of "
                f"linux-image on Debian, of linux-modules-extra on Ubuntu, and of a "
                f"kernel of one's own with CONFIG_NET_SCH_{kind.upper()}; or leave "
                f"{options} out"
            )


def probe_of(kind: str) -> str:
    """The trial, and the doctor's check, of that kind of queueing discipline."""
    return f"sch_{kind}"


@functools.cache
def _found(kinds: tuple[str, ...]) -> Mapping[str, Finding]:
    """Tried once: a sweep asks for each of its runs."""
    return kernel_probes.probe_some([probe_of(kind) for kind in kinds])
