"""The guard in the kernel: ``guard.bpf.c``, loaded once and attached to every node."""

from __future__ import annotations

import ipaddress
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path

from nodes.guard.budget import Limit
from nodes.guard.guard import GuardCounters, GuardError, GuardSettings
from nodes.guard.verdict_header import HEADER, number_of, verdict_header
from nodes.kernel.bpf_build import compile_program
from nodes.kernel.libbpf import BpfError, BpfObject
from nodes.kernel.traffic_control import Interface
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP6,
)
from topologies.domain.site import Site

SOURCE = Path(__file__).with_name("guard.bpf.c")
#: Folder of the pinned programs and maps: ``guard_ingress``, ``guard_nodes``, ...
PINS = Path("/sys/fs/bpf/resetbed")

#: ``struct config``: the two limits of the budget (cost and burst, ns), VIP6, VIP4, the
#: MACs for fan-out, second chance, relay, probe and gateway, the mode's number, healing,
#: the tokens of a relay.
CONFIG = struct.Struct("=4Q16s4s6s6s6s6s6sBBI")
#: ``struct counters``: the fields of :class:`~nodes.guard.guard.GuardCounters`, in order.
COUNTERS = struct.Struct(f"={len(fields(GuardCounters))}Q")
_KEY = struct.Struct("=I")

#: The maps of recent actions.
RECENT_MAPS = tuple(
    f"guard_{name}" for name in ("aborted", "freed", "held", "relayed", "answered")
)
#: Entries of each, for each node, and at least.
_RECENT_OF_A_NODE = 256
_LEAST_RECENT = 65536

#: tc hook of the interface -> program.
_HOOKS = {"ingress": "guard_ingress", "egress": "guard_egress"}


class EbpfGuard:
    """One program for all nodes; see :class:`~nodes.guard.guard.Guard` for the methods.

    It runs in the kernel, so the nodes stay guarded if this process is killed. It needs
    a BPF filesystem on ``/sys/fs/bpf`` and replaces an earlier instance there.
    """

    name = "ebpf"
    check_cost_s = 0.000_01

    def __init__(self, workdir: Path | None = None, nodes: int = 1) -> None:
        """Loads the program. ``workdir`` is not used: this guard writes no files.

        ``nodes``: how many nodes there will be, about. The memory of recent actions is
        sized by it: each kind has 256 entries for each node, and at least 65,536.
        """
        _check_bpf_filesystem(PINS.parent)
        self._sites: dict[str, Site] = {}
        self._interfaces: dict[str, Interface] = {}
        self._closed = False
        recent = max(_LEAST_RECENT, _RECENT_OF_A_NODE * nodes)
        self._object = BpfObject(compile_guard(), dict.fromkeys(RECENT_MAPS, recent))
        shutil.rmtree(PINS, ignore_errors=True)
        self._object.pin(PINS)
        self._config = self._object.map("guard_config", CONFIG.size)
        self._nodes = self._object.map("guard_nodes", COUNTERS.size)

    def attach(self, sites: Sequence[Site], settings: GuardSettings) -> None:
        """Attach the program to the interface of every site, or to none of them."""
        self._config.set(_KEY.pack(0), packed_settings(settings))
        for site in sites:
            self._nodes.set(_key(site), COUNTERS.pack(*astuple(GuardCounters())))
        try:
            for site in sites:
                self._interfaces[site.name] = _interface(site)
                self._hook(site)
        except GuardError:
            self._give_up(sites)
            raise
        self._sites |= {site.name: site for site in sites}

    def _give_up(self, sites: Sequence[Site]) -> None:
        """Undo :meth:`attach` for sites that could not all be guarded."""
        for site in sites:
            self._nodes.delete(_key(site))
            if site.name in self._interfaces:
                with suppress(GuardError):
                    self._unhook(site)

    def detach(self, name: str) -> None:
        """Detach the program from the interface of that node."""
        site = self._sites.pop(name)
        self._nodes.delete(_key(site))
        self._unhook(site)

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, read from the kernel's map."""
        return {
            name: GuardCounters(*COUNTERS.unpack(self._nodes.get(_key(site))))
            for name, site in self._sites.items()
        }

    def check(self) -> list[str]:
        """Attach again to interfaces that no longer have the program.

        Only interfaces with a change notification of the kernel are checked.
        """
        wanted = {self._object.program_id(program) for program in _HOOKS.values()}
        detached = [
            site
            for site in self._sites.values()
            if self._interfaces[site.name].has_changed() and not self._has(site, wanted)
        ]
        for site in detached:
            self._hook(site)
        return [site.name for site in detached]

    def close(self) -> None:
        """Detach everywhere, unpin and unload."""
        if self._closed:
            return
        self._closed = True
        try:
            for name in list(self._sites):
                self.detach(name)
        finally:
            shutil.rmtree(PINS, ignore_errors=True)
            self._object.close()

    def _hook(self, site: Site) -> None:
        programs = {
            hook: (self._object.program_descriptor(program), program)
            for hook, program in _HOOKS.items()
        }
        with _as_guard_error(site):
            self._interfaces[site.name].attach(programs)

    def _has(self, site: Site, wanted: set[int]) -> bool:
        with _as_guard_error(site):
            return wanted <= self._interfaces[site.name].programs()

    def _unhook(self, site: Site) -> None:
        """Works without a process in the namespace: our sockets keep it alive."""
        interface = self._interfaces.pop(site.name)
        with closing(interface), _as_guard_error(site):
            interface.detach()


def compile_guard() -> Path:
    """The object file of the program, with the names and constants of the table.

    Raises :class:`~nodes.kernel.libbpf.BpfError` as
    :func:`~nodes.kernel.bpf_build.compile_program` does.
    """
    return compile_program(SOURCE, {HEADER: verdict_header()})


def missing_requirement() -> str | None:
    """The requirement of the eBPF guard that is missing here; None if none is."""
    missing = [tool for tool in ("clang", "tc") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        BpfObject(compile_guard()).close()
    except BpfError as error:
        return str(error)
    clsact = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "clsact"]
    tried = subprocess.run(clsact, check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"no clsact queueing discipline: {tried.stderr.strip()}"
    return None


def _check_bpf_filesystem(path: Path) -> None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if where == str(path) and kind == "bpf":
            return
    raise GuardError(f"no BPF filesystem is mounted on {path}")


def packed_settings(settings: GuardSettings) -> bytes:
    """``struct config`` for these settings."""
    macs = (FANOUT_MAC, SECOND_CHANCE_MAC, RELAY_MAC, PROBE_MAC, GATEWAY_MAC)
    return CONFIG.pack(
        *_limit(settings.budget.client),
        *_limit(settings.budget.total),
        ipaddress.IPv6Address(VIP6).packed,
        ipaddress.IPv4Address(VIP4).packed,
        *(bytes.fromhex(mac.replace(":", "")) for mac in macs),
        number_of(settings.mode),
        settings.healing,
        settings.budget.relay,
    )


def _limit(limit: Limit) -> tuple[int, int]:
    return limit.cost_ns, limit.burst_ns


def _key(site: Site) -> bytes:
    return _KEY.pack(int(site.mac.replace(":", ""), 16) & 0xFFFF)


def _interface(site: Site) -> Interface:
    with _as_guard_error(site):
        return Interface(site.pid, site.interface)


@contextmanager
def _as_guard_error(site: Site) -> Iterator[None]:
    """Raises an ``OSError`` of the kernel as :class:`~nodes.guard.guard.GuardError`."""
    try:
        yield
    except OSError as error:
        raise GuardError(f"{site.name}, {site.interface}: {error}") from error
