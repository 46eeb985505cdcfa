"""The guard in the kernel: ``guard.bpf.c`` compiled, loaded once, put on every node."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from pathlib import Path

from nodes.guard import GuardCounters, GuardError, GuardSite
from nodes.libbpf import BpfObject
from topologies.plan import FANOUT_MAC, VIP4, VIP6

SOURCE = Path(__file__).with_name("guard.bpf.c")
#: Compiled programs, each named by the hash of what it was made from.
BUILD = SOURCE.parent.parent / ".build"
#: Where the loaded programs and maps are pinned: ``guard_ingress``, ``guard_nodes``, ...
PINS = Path("/sys/fs/bpf/resetbed")

#: ``struct config``: VIP6, VIP4, fan-out MAC, answer or not, one unused byte.
CONFIG = struct.Struct("=16s4s6s?x")
#: ``struct counters``: the fields of :class:`~nodes.guard.GuardCounters`, in order.
COUNTERS = struct.Struct("=5Q")
_KEY = struct.Struct("=I")

#: tc hook of the interface -> program.
_HOOKS = {"ingress": "guard_ingress", "egress": "guard_egress"}


class EbpfGuard:
    """One program for all nodes; see :class:`~nodes.guard.Guard` for the methods.

    It lives in the kernel: killing this process changes nothing for the nodes. Needs a
    BPF filesystem on ``/sys/fs/bpf``, where it takes the place of an earlier one.
    """

    name = "ebpf"
    check_cost_s = 0.01

    def __init__(self) -> None:
        _check_bpf_filesystem(PINS.parent)
        self._sites: dict[str, GuardSite] = {}
        self._closed = False
        self._object = BpfObject(compile_program())
        shutil.rmtree(PINS, ignore_errors=True)
        self._object.pin(PINS)
        self._config = self._object.map("guard_config", CONFIG.size)
        self._nodes = self._object.map("guard_nodes", COUNTERS.size)

    def attach(self, sites: Sequence[GuardSite], answer: bool) -> None:
        """Put the program on the interface of every site."""
        self._config.set(_KEY.pack(0), _config(answer))
        for site in sites:
            self._nodes.set(_key(site), COUNTERS.pack(*astuple(GuardCounters())))
        _tc_on_each(sites, _attach_commands)
        self._sites |= {site.name: site for site in sites}

    def detach(self, name: str) -> None:
        """Take the program off the interface of that node."""
        site = self._sites.pop(name)
        self._nodes.delete(_key(site))
        if _is_there(site):
            _tc_on_each([site], _detach_commands)

    def counters(self) -> dict[str, GuardCounters]:
        """Node name -> its counters, read from the kernel's map."""
        return {
            name: GuardCounters(*COUNTERS.unpack(self._nodes.get(_key(site))))
            for name, site in self._sites.items()
        }

    def check(self) -> list[str]:
        """Attach again wherever an interface no longer has the program."""
        shown = _tc_on_each(list(self._sites.values()), _show_commands)
        wanted = {self._object.program_id(program) for program in _HOOKS.values()}
        bare = [
            site
            for site, output in zip(self._sites.values(), shown, strict=True)
            if not wanted <= _program_ids(output)
        ]
        _tc_on_each(bare, _attach_commands)
        return [site.name for site in bare]

    def close(self) -> None:
        """Detach everywhere, unpin and unload."""
        if self._closed:
            return
        self._closed = True
        there = [site for site in self._sites.values() if _is_there(site)]
        self._sites.clear()
        try:
            _tc_on_each(there, _detach_commands)
        finally:
            shutil.rmtree(PINS, ignore_errors=True)
            self._object.close()


def lacks() -> str | None:
    """What this machine lacks for the eBPF guard, found by trying; None if nothing."""
    missing = [tool for tool in ("clang", "tc", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        BpfObject(compile_program()).close()
    except GuardError as error:
        return str(error)
    clsact = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "clsact"]
    tried = subprocess.run(clsact, check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"no clsact queueing discipline: {tried.stderr.strip()}"
    return None


def compile_program() -> Path:
    """The object file of ``guard.bpf.c``, compiled unless that was done before.

    Raises :class:`~nodes.guard.GuardError` with the compiler's words.
    """
    # Kernel headers of the architecture (asm/) are in its own folder on Debian.
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = ["clang", "-O2", "-g", "-target", "bpf", headers, "-Wall", "-Werror"]
    version = _output([command[0], "--version"])
    sources = [file.read_text() for file in sorted(SOURCE.parent.glob("*.bpf.[ch]"))]
    made_from = "\0".join([*command, version, *sources])
    target = BUILD / f"guard-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.o"
    if not target.exists():
        BUILD.mkdir(exist_ok=True)
        # Two runs may compile at once: each into its own file, put in place at once.
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            fresh = Path(folder) / target.name
            _output([*command, "-c", str(SOURCE), "-o", str(fresh)])
            os.replace(fresh, target)
    return target


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise GuardError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise GuardError(f"{command[0]}: {error.stderr.strip()}") from None
    return done.stdout


def _check_bpf_filesystem(path: Path) -> None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if where == str(path) and kind == "bpf":
            return
    raise GuardError(f"no BPF filesystem is mounted on {path}")


def _config(answer: bool) -> bytes:
    return CONFIG.pack(
        ipaddress.IPv6Address(VIP6).packed,
        ipaddress.IPv4Address(VIP4).packed,
        bytes.fromhex(FANOUT_MAC.replace(":", "")),
        answer,
    )


def _key(site: GuardSite) -> bytes:
    return _KEY.pack(int(site.mac.replace(":", ""), 16) & 0xFFFF)


def _is_there(site: GuardSite) -> bool:
    return os.path.exists(f"/proc/{site.pid}/ns/net")


def _attach_commands(site: GuardSite) -> Iterable[str]:
    yield f"qdisc replace dev {site.interface} clsact"
    for hook, program in _HOOKS.items():
        yield (
            f"filter replace dev {site.interface} {hook} prio 1 handle 1 "
            f"bpf direct-action object-pinned {PINS / program}"
        )


def _show_commands(site: GuardSite) -> Iterable[str]:
    for hook in _HOOKS:
        yield f"filter show dev {site.interface} {hook}"


def _detach_commands(site: GuardSite) -> Iterable[str]:
    yield f"qdisc del dev {site.interface} clsact"


def _tc_on_each(
    sites: Sequence[GuardSite], commands: Callable[[GuardSite], Iterable[str]]
) -> list[str]:
    """Run ``tc`` with these commands in every site's namespace, all at the same time.

    Returns what each printed. Raises :class:`~nodes.guard.GuardError` naming the sites
    where it failed.
    """
    running = [_start_tc(site) for site in sites]
    # Written to all before any is waited for: that is what makes them run at once.
    for site, process in zip(sites, running, strict=True):
        assert process.stdin
        process.stdin.write("\n".join(commands(site)) + "\n")
        process.stdin.close()
        process.stdin = None
    outputs = [process.communicate() for process in running]
    failures = [
        f"{site.name}: {complaint.strip()}"
        for site, process, (_, complaint) in zip(sites, running, outputs, strict=True)
        if process.returncode
    ]
    if failures:
        raise GuardError(f"tc failed on {'; '.join(failures)}")
    return [printed for printed, _ in outputs]


def _start_tc(site: GuardSite) -> subprocess.Popen[str]:
    enter = ["nsenter", f"--net=/proc/{site.pid}/ns/net"]
    return subprocess.Popen(
        [*enter, "tc", "-json", "-batch", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _program_ids(shown: str) -> set[int]:
    """Ids of the programs in the output of ``tc -json filter show``, line by line."""
    filters = [entry for line in shown.splitlines() for entry in json.loads(line)]
    return {
        entry["options"]["prog"]["id"]
        for entry in filters
        if "prog" in entry.get("options", {})
    }
