"""The choice of Open vSwitch's datapath: in the kernel or in user space.

The kernel datapath (``datapath_type=system``) forwards in the kernel and needs its module.
The userspace datapath (``netdev``) forwards in ovs-vswitchd and needs /dev/net/tun: each
bridge has a local port, which is a tap device (``netdev_linux_construct_tap``).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

AUTO, KERNEL, USERSPACE = "auto", "kernel", "userspace"
#: What a user can choose; ``auto`` is the kernel datapath if the machine has it.
CHOICES = (AUTO, KERNEL, USERSPACE)

#: ``datapath_type`` in ovs-vswitchd.conf.db(5).
TYPES = {KERNEL: "system", USERSPACE: "netdev"}
#: Names for people.
TITLES = {
    KERNEL: "the kernel's datapath",
    USERSPACE: "Open vSwitch's userspace datapath",
}
_TUN = "/dev/net/tun"


class DatapathMissing(RuntimeError):
    """The machine lacks the chosen datapath; the text has the reason and the remedy."""


@dataclass(frozen=True)
class Datapath:
    """A datapath that this machine has.

    ``name``: ``kernel`` or ``userspace``. ``asked``: one of :data:`CHOICES`. ``why``: the
    reason of the choice.
    """

    name: str
    asked: str
    why: str

    @property
    def type(self) -> str:
        """Its ``datapath_type``: ``system`` or ``netdev``."""
        return TYPES[self.name]

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Datapath:
        """What :meth:`to_json` described."""
        return cls(data["name"], data["asked"], data["why"])

    def __str__(self) -> str:
        """For people: the datapath and the reason."""
        return f"{TITLES[self.name]} ({self.why})"

    def to_json(self) -> dict[str, str]:
        """``name``, ``type``, ``asked`` and ``why``."""
        return {**asdict(self), "type": self.type}


def choose(asked: str, missing: Mapping[str, str | None]) -> Datapath:
    """The datapath for a choice; pure.

    ``missing``: by datapath, what the machine lacks for it; None if nothing. Raises
    :class:`DatapathMissing`, or :class:`ValueError` for an unknown choice.
    """
    if asked not in CHOICES:
        raise ValueError(f"datapath: {asked!r} is not one of: {', '.join(CHOICES)}")
    if asked != AUTO:
        if reason := missing[asked]:
            raise DatapathMissing(f"datapath {asked}: {reason}")
        return Datapath(asked, asked, "as requested")
    no_kernel, no_userspace = missing[KERNEL], missing[USERSPACE]
    if no_kernel is None:
        return Datapath(KERNEL, AUTO, "the kernel has openvswitch, and it is faster")
    if no_userspace is None:
        return Datapath(USERSPACE, AUTO, no_kernel)
    raise DatapathMissing(f"no datapath: {no_kernel}; {no_userspace}")


@lru_cache
def find_datapath(asked: str = AUTO) -> Datapath:
    """The datapath on this machine. The check may load the modules openvswitch and tun."""
    return choose(
        asked, {KERNEL: _missing_for_kernel(), USERSPACE: _missing_for_userspace()}
    )


@lru_cache
def _missing_for_kernel() -> str | None:
    """What is missing for the kernel's datapath.

    A request for its generic netlink family loads the module if it exists
    (``ctrl_getfamily``), also from a privileged container.
    """
    try:
        asked = subprocess.run(
            ["genl", "ctrl", "get", "name", "ovs_datapath"],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return "genl, which asks the kernel, is not installed (package iproute2)"
    return "the kernel has no openvswitch module" if asked.returncode else None


@lru_cache
def _missing_for_userspace() -> str | None:
    """What is missing for the userspace datapath."""
    if error := _tun_error():
        # With devtmpfs, loading the module creates the device.
        subprocess.run(["modprobe", "--quiet", "tun"], check=False, capture_output=True)
        error = _tun_error()
    if error is None:
        return None
    return (
        f"{_TUN} cannot be opened ({error}): load the module tun (modprobe tun), "
        "or give the container that device"
    )


def _tun_error() -> str | None:
    try:
        os.close(os.open(_TUN, os.O_RDWR))
    except OSError as error:
        return error.strerror
    return None
