"""Provenance of a result: code, machine, versions, kernel settings and load."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]

_TOOLS: dict[str, Sequence[str]] = {
    "openvswitch": ("ovs-vswitchd", "--version"),
    "mininet": ("mn", "--version"),
    "iproute2": ("ip", "-V"),
    "nbdkit": ("nbdkit", "--version"),
}
_PACKAGES = ("os-ken", "scapy", "pyroute2", "pydantic", "polars", "numpy", "matplotlib")
_SYSCTLS = (
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_challenge_ack_limit",
    "net.core.bpf_jit_enable",
)


def provenance() -> dict[str, Any]:
    """Everything that is needed to assess and repeat a run."""
    return {
        "code": _code_version(),
        "command": sys.argv,
        "kernel": platform.release(),
        "system": _system_name(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_mib": _memory_mib(),
        "load_average": os.getloadavg(),
        "tools": {name: _first_line(argv) for name, argv in _TOOLS.items()},
        "packages": {name: _package_version(name) for name in _PACKAGES},
        "sysctls": {name: _sysctl(name) for name in _SYSCTLS},
    }


def version() -> str:
    """Name and version of the testbed, and the commit of this checkout, in one line."""
    setup = ConfigParser(interpolation=None)
    setup.read(_ROOT / "setup.cfg", encoding="utf-8")
    project = setup["metadata"]
    return f"{project['name']} {project['version']} ({_code_version() or 'no commit'})"


def _code_version() -> str | None:
    """Commit of this checkout, with a mark if the working tree differs."""
    git = ("git", "-c", f"safe.directory={_ROOT}", "-C", str(_ROOT))
    return _first_line((*git, "describe", "--always", "--dirty", "--abbrev=40"))


def _first_line(argv: Sequence[str]) -> str | None:
    """First line of a tool's version output; None if the tool is missing."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = (done.stdout or done.stderr).strip()
    return text.splitlines()[0] if text else None


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None


def _system_name() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")


def _memory_mib() -> int:
    match = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(match[1]) // 1024 if match else 0
