"""Files and sockets whose mode is their own, whatever the umask of who calls."""

from __future__ import annotations

import os
import socket
from pathlib import Path

#: Of a socket on which orders are taken: connecting needs the right to write (unix(7)).
OWNER_ONLY = 0o600

#: Of everything in a sandbox, whatever the caller's: what is made there can be read by
#: whoever may enter its folder, and changed by root alone.
UMASK = 0o022

#: Of folders and files that everybody may read, and root alone writes.
FOLDER_MODE = 0o755
FILE_MODE = 0o644


def bind_private(bound: socket.socket, path: str | Path) -> None:
    """Binds a UNIX socket to ``path``, which nobody but the owner can ever connect to.

    The file gets the socket's own mode less the umask's bits (``unix_bind_bsd`` in
    Linux), so there is no moment at which it has another; then the bits that the umask
    took are given back.
    """
    os.fchmod(bound.fileno(), OWNER_ONLY)
    bound.bind(str(path))
    os.chmod(path, OWNER_ONLY)


def make_folder(path: Path) -> None:
    """A new folder that root alone can write into. Raises ``FileExistsError``."""
    path.mkdir(mode=FOLDER_MODE)
    path.chmod(FOLDER_MODE)  # the bits that the umask took


def open_new(path: Path) -> int:
    """Descriptor of an empty file to write to, that root alone can change."""
    opened = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE
    )
    os.fchmod(opened, FILE_MODE)
    return opened
