"""Files and sockets with a fixed mode, independent of the caller's umask."""

from __future__ import annotations

import os
import socket
from pathlib import Path

#: Mode of a control socket: connecting needs write permission (unix(7)).
OWNER_ONLY = 0o600

#: Umask in a sandbox, for any caller. Files there can be read by all who can enter their
#: folder, and changed by root only.
UMASK = 0o022

#: Modes of folders and files that all can read and only root can write.
FOLDER_MODE = 0o755
FILE_MODE = 0o644


def bind_private(bound: socket.socket, path: str | Path) -> None:
    """Bind a UNIX socket to ``path``; only its owner can connect to it.

    The file gets the socket's own mode without the umask's bits (``unix_bind_bsd`` in
    Linux), so it never has a wider mode. Then the bits that the umask removed are added.
    """
    os.fchmod(bound.fileno(), OWNER_ONLY)
    bound.bind(str(path))
    os.chmod(path, OWNER_ONLY)


def make_folder(path: Path) -> None:
    """Create a folder that only root can write into. Raises ``FileExistsError``."""
    path.mkdir(mode=FOLDER_MODE)
    path.chmod(FOLDER_MODE)  # the bits that the umask removed


def open_new(path: Path) -> int:
    """Create or empty a file that only root can write; its descriptor."""
    opened = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE
    )
    os.fchmod(opened, FILE_MODE)
    return opened
