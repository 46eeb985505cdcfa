#!/usr/bin/env python3
"""Serves a folder by NFSv4.0: writes the settings of one NFS-Ganesha, then becomes it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NFS_PORT = 2049

#: Where the distribution has Ganesha's file system modules.
_MODULES = "/usr/lib/*/ganesha/libfsalvfs.so"
#: What is mounted, and where Ganesha reads that; getmntent(3).
MOUNTS, MOUNT_TABLE = Path("/proc/self/mounts"), Path("/etc/mtab")
#: A type of file system that Ganesha does not know, and so does not pass over.
_MEMORY = "memory"
#: Sockets of the machine's own services. Ganesha would register itself there.
RPCBIND_SOCKET = Path("/run/rpcbind.sock")
NO_DBUS: Mapping[str, str] = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}

_SETTINGS = """\
NFS_CORE_PARAM {{
    Protocols = 4;
    NFS_Port = {port};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
    Plugins_Dir = "{modules}";
}}
NFS_KRB5 {{ Active_krb5 = false; CCacheDir = "{state}"; }}
NFSV4 {{
    Minor_Versions = 0;
    Lease_Lifetime = {lease_s};
    # Nobody reclaims: a client comes back through another node, which does not know it.
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = "{state}";
    Only_Numeric_Owners = true;
}}
EXPORT {{
    Export_Id = 1;
    Path = "{folder}";
    Pseudo = /store;
    Access_Type = RW;
    Squash = none;
    SecType = sys;
    Protocols = 4;
    Transports = TCP;
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = WARN; }}
"""


def settings(folder: Path, state: Path, modules: Path, lease_s: int) -> str:
    """ganesha-config(8) for one node. ``state``: a folder of its own."""
    return _SETTINGS.format(
        port=NFS_PORT, folder=folder, state=state, modules=modules, lease_s=lease_s
    )


def modules_folder() -> Path:
    """Raises ``FileNotFoundError`` if nfs-ganesha-vfs is not installed."""
    for found in Path("/").glob(_MODULES.lstrip("/")):
        return found.parent
    raise FileNotFoundError(f"no {_MODULES}: the package nfs-ganesha-vfs is missing")


def hide_rpcbind() -> None:
    """In a mount namespace of our own, so that the host's list of services stays as it is."""
    if RPCBIND_SOCKET.exists():
        mount = ["mount", "--bind", "/dev/null", str(RPCBIND_SOCKET)]
        subprocess.run(mount, check=True)


def with_tmpfs_renamed(mounts: str, folder: Path) -> str | None:
    """The table ``mounts`` with another type for the file system of ``folder``; None if it
    is no tmpfs.

    Ganesha 6 exports no tmpfs (``populate_posix_file_systems`` in ``FSAL/localfs.c``), and
    /run is one on most machines. It goes by the name of the type alone: for whoever keeps
    files in memory, nothing else is different.
    """
    lines = mounts.splitlines(keepends=True)
    found, longest = None, -1
    for number, line in enumerate(lines):
        # Blanks in paths are written as \\040 there, and in none of ours.
        where = Path(line.split()[1])
        if folder.is_relative_to(where) and len(where.parts) >= longest:
            found, longest = number, len(where.parts)
    if found is None or lines[found].split()[2] != "tmpfs":
        return None
    lines[found] = lines[found].replace(" tmpfs ", f" {_MEMORY} ", 1)
    return "".join(lines)


def show_as_disk(folder: Path, state: Path) -> None:
    """In a mount namespace of our own, Ganesha finds a table of mounts as it needs it.

    Where that cannot be made, Ganesha is left to say what it exports: before 6 it takes a
    tmpfs as it is.
    """
    table = with_tmpfs_renamed(MOUNTS.read_text(), folder.resolve())
    if table is None:
        return
    layer = state / "etc"
    layer.mkdir()
    (layer / MOUNT_TABLE.name).write_text(table)
    # The table is a link into /proc, where no file can lie. So a layer is put over /etc.
    layers = f"lowerdir={layer}:{MOUNT_TABLE.parent}"
    mount = ["mount", "-t", "overlay", "-o", layers, "overlay", str(MOUNT_TABLE.parent)]
    if subprocess.run(mount, check=False).returncode:
        print(
            f"{folder} is on a tmpfs, and overlayfs cannot hide it: Ganesha 6 exports none",
            file=sys.stderr,
            flush=True,
        )


def main(argv: list[str]) -> None:
    """Run Ganesha in the foreground until SIGTERM or SIGKILL."""
    parser = argparse.ArgumentParser(prog="nfs_server.py", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="what is exported")
    parser.add_argument("--state", required=True, help="prefix of its own folder")
    parser.add_argument("--lease-s", type=int, required=True, help="Lease_Lifetime")
    args = parser.parse_args(argv)
    hide_rpcbind()
    state = Path(f"{args.state}-{os.getpid()}")
    state.mkdir()
    show_as_disk(args.folder, state)
    config = state / "ganesha.conf"
    config.write_text(
        settings(args.folder, state, modules_folder(), args.lease_s), encoding="utf-8"
    )
    program = ["ganesha.nfsd", "-F", "-f", str(config), "-p", str(state / "pid")]
    os.execvpe(
        program[0], [*program, "-L", str(state / "log")], {**os.environ, **NO_DBUS}
    )


if __name__ == "__main__":
    main(sys.argv[1:])
