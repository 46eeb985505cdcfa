"""Kernel requirements of links with a rate, a delay or a loss."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from experiments.doctor import kernel_probes
from experiments.machine.machine import Finding, State
from experiments.machine.requirements import RequirementMissing
from topologies.domain.link_options import LinkOptions
from topologies.shaping import required_qdiscs


def require(*links: LinkOptions) -> None:
    """Check that the kernel supports these link options, with probes in a sandbox.

    Several: of one run, at its start and by its events. Call it before anything is built.
    Raises :class:`~experiments.machine.requirements.RequirementMissing`.
    """
    needed = tuple(sorted({kind for link in links for kind in required_qdiscs(link)}))
    if not needed:
        return
    found = _found(needed)
    reasons = dict.fromkeys(
        why for link in links for why in missing_reasons(link, found)
    )
    if reasons:
        raise RequirementMissing("; ".join(reasons))


def missing_reasons(links: LinkOptions, found: Mapping[str, Finding]) -> Iterator[str]:
    """A sentence for each unsupported option. ``found``: the findings of the probes."""
    for kind, options in required_qdiscs(links).items():
        finding = found[probe_of(kind)]
        if finding.state is State.MISSING:
            yield (
                f"links: {options}: needs the queueing discipline {kind}, which this "
                f"kernel does not have ({finding.detail}). It is the module sch_{kind}: "
                f"part of linux-image on Debian, of linux-modules-extra on Ubuntu, and of "
                f"a custom kernel with CONFIG_NET_SCH_{kind.upper()}; or leave {options} "
                f"out"
            )


def probe_of(kind: str) -> str:
    """Name of the probe, and of the doctor's check, of a queueing discipline."""
    return f"sch_{kind}"


@functools.cache
def _found(kinds: tuple[str, ...]) -> Mapping[str, Finding]:
    """The findings, cached: a sweep needs them for each of its runs."""
    return kernel_probes.probe_some([probe_of(kind) for kind in kinds])
