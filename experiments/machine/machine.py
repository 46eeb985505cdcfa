"""Inspects this machine: tools, Python packages and limits."""

from __future__ import annotations

import configparser
import contextlib
import ctypes
import importlib
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

#: The folder that holds the launcher and ``setup.cfg``.
CHECKOUT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 10.0
#: For 2,000 connections with both ends, captures and control sockets.
OPEN_FILES_NEEDED = 4096
CORES_NEEDED = 2
MEMORY_NEEDED_MIB = 2048

#: Tool -> option that prints its version.
TOOLS: dict[str, Sequence[str]] = {
    "ovs-vswitchd": ("--version",),
    "ovsdb-server": ("--version",),
    "unshare": ("--version",),
    "nsenter": ("--version",),
    "ip": ("-V",),
    "tc": ("-V",),
    "ss": ("-V",),
    "nbdkit": ("--version",),
    "fio": ("--version",),
    "clang": ("--version",),
    "bpftool": ("version",),
    "nft": ("--version",),
    "tcpdump": ("--version",),
    "ethtool": ("--version",),
}


class State(str, Enum):
    """Whether something is present."""

    PRESENT = "present"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Whether something is present, with a short detail."""

    state: State
    detail: str


def present(detail: str) -> Finding:
    """It is present. ``detail``: version or kind."""
    return Finding(State.PRESENT, detail)


def missing(detail: str) -> Finding:
    """It is missing or does not work. ``detail``: the reason."""
    return Finding(State.MISSING, detail)


def unknown(detail: str) -> Finding:
    """It could not be determined. ``detail``: the reason."""
    return Finding(State.UNKNOWN, detail)


def tool(name: str) -> Finding:
    """A program of :data:`TOOLS` and the version that it prints."""
    # A user's PATH may not contain Debian's folders for root's programs.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        return missing("not installed")
    try:
        done = subprocess.run(
            (found, *TOOLS[name]),
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return missing(f"does not run: {error}")
    version = version_in(done.stdout + done.stderr)
    if version is None:
        return missing((done.stderr or done.stdout).strip() or "does not run")
    return present(version)


def version_in(text: str) -> str | None:
    """The first version number in a tool's output; None without one.

    >>> version_in("ss utility, iproute2-6.1.0, libbpf 1.1.2")
    '6.1.0'
    """
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found.group() if found else None


def mininet() -> Finding:
    """Debian's Mininet, for this interpreter."""
    try:
        return present(str(importlib.import_module("mininet.net").VERSION))
    except ImportError as error:
        return missing(str(error))


def libnbd() -> Finding:
    """Debian's Python module of libnbd, for this interpreter."""
    try:
        return present(str(importlib.import_module("nbd").NBD().get_version()))
    except ImportError as error:
        return missing(str(error))


def libbpf() -> Finding:
    """The library that loads eBPF programs, of version 1 or 0."""
    for name in ("libbpf.so.1", "libbpf.so.0"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return present(name)
    return missing("not installed")


def required_packages() -> tuple[str, ...]:
    """Names of the Python packages that ``setup.cfg`` lists under install_requires."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    lines = settings["options"]["install_requires"].split("\n")
    names = (re.match(r"[\w.-]+", line.strip()) for line in lines)
    return tuple(name.group() for name in names if name)


def python_package(name: str) -> Finding:
    """A Python package and its version."""
    try:
        return present(metadata.version(name))
    except metadata.PackageNotFoundError:
        return missing("not installed")


def ryu() -> Finding:
    """The second environment, with the last Ryu, which ``./resetbed test`` creates."""
    home = Path(os.environ.get("RESETBED_HOME", CHECKOUT))
    found = sorted(home.glob(".venv-ryu/lib/python3*/site-packages/ryu-*.dist-info"))
    if not found:
        return missing("no .venv-ryu; ./resetbed test makes it (Python 3.10 or 3.11)")
    return present(found[0].name.removesuffix(".dist-info").removeprefix("ryu-"))


def type_information() -> Finding:
    """The kernel's BTF, which describes its structures."""
    path = Path("/sys/kernel/btf/vmlinux")
    return present("readable") if os.access(path, os.R_OK) else missing(f"no {path}")


def open_files() -> Finding:
    """RLIMIT_NOFILE. Root may raise the soft limit up to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_NEEDED
    return _measured(enough, f"{hard}", f"{OPEN_FILES_NEEDED}")


def cores() -> Finding:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    return _measured(count >= CORES_NEEDED, f"{count}", f"{CORES_NEEDED}")


def memory() -> Finding:
    """Available memory, without swapping (MemAvailable, proc(5))."""
    text = Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        return unknown("no MemAvailable in /proc/meminfo")
    mib = int(found.group(1)) // 1024
    enough = mib >= MEMORY_NEEDED_MIB
    return _measured(enough, f"{mib} MiB", f"{MEMORY_NEEDED_MIB} MiB")


def _measured(enough: bool, figure: str, needed: str) -> Finding:
    return present(figure) if enough else missing(f"{figure}, {needed} needed")
