"""What this machine has: tools, Python packages and limits, each with what was found."""

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
#: 2,000 connections at both ends, with room for captures and control sockets.
OPEN_FILES_NEEDED = 4096
CORES_NEEDED = 2
MEMORY_NEEDED_MIB = 2048

#: How each tool is asked for its version.
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
    """Whether something is there."""

    PRESENT = "present"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Whether something is there, and a few words on what was seen."""

    state: State
    detail: str


def present(detail: str) -> Finding:
    """It is there; ``detail`` says which version or kind."""
    return Finding(State.PRESENT, detail)


def missing(detail: str) -> Finding:
    """It is not there, or does not work; ``detail`` says how that showed."""
    return Finding(State.MISSING, detail)


def unknown(detail: str) -> Finding:
    """It could not be seen; ``detail`` says why."""
    return Finding(State.UNKNOWN, detail)


def tool(name: str) -> Finding:
    """A program of :data:`TOOLS` and the version that it prints."""
    # Other people's PATH may lack the folders where Debian keeps what root uses.
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
    """The first thing in a tool's words that looks like a version; None without one.

    >>> version_in("ss utility, iproute2-6.1.0, libbpf 1.1.2")
    '6.1.0'
    """
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found.group() if found else None


def mininet() -> Finding:
    """Debian's Mininet, as this very interpreter sees it."""
    try:
        return present(str(importlib.import_module("mininet.net").VERSION))
    except ImportError as error:
        return missing(str(error))


def libnbd() -> Finding:
    """Debian's Python module of libnbd, as this very interpreter sees it."""
    try:
        return present(str(importlib.import_module("nbd").NBD().get_version()))
    except ImportError as error:
        return missing(str(error))


def libbpf() -> Finding:
    """The library that loads eBPF programs, of either of its interfaces."""
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
    """The second environment, with the last Ryu, which ``./resetbed test`` makes."""
    home = Path(os.environ.get("RESETBED_HOME", CHECKOUT))
    found = sorted(home.glob(".venv-ryu/lib/python3*/site-packages/ryu-*.dist-info"))
    if not found:
        return missing("no .venv-ryu; ./resetbed test makes it (Python 3.10 or 3.11)")
    return present(found[0].name.removesuffix(".dist-info").removeprefix("ryu-"))


def type_information() -> Finding:
    """The kernel's own BTF, which says how its structures are laid out."""
    path = Path("/sys/kernel/btf/vmlinux")
    return present("readable") if os.access(path, os.R_OK) else missing(f"no {path}")


def open_files() -> Finding:
    """RLIMIT_NOFILE; root may raise the soft limit up to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_NEEDED
    return _measured(enough, f"{hard}", f"{OPEN_FILES_NEEDED}")


def cores() -> Finding:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    return _measured(count >= CORES_NEEDED, f"{count}", f"{CORES_NEEDED}")


def memory() -> Finding:
    """Memory that can be had without swapping (proc(5), MemAvailable)."""
    text = Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        return unknown("the kernel does not say")
    mib = int(found.group(1)) // 1024
    enough = mib >= MEMORY_NEEDED_MIB
    return _measured(enough, f"{mib} MiB", f"{MEMORY_NEEDED_MIB} MiB")


def _measured(enough: bool, figure: str, needed: str) -> Finding:
    return present(figure) if enough else missing(f"{figure}, {needed} needed")
