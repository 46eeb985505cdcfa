"""Where the page of a name was served last: its port and its token.

A page that stays open in a browser finds its server again only at the same port, and only
with the same token. Both are kept until the next boot, for root alone.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path

from topologies.private import OWNER_ONLY

#: Beside the registry of sandboxes, whose folders go with their sandboxes.
FOLDER = Path("/run/resetbed-watch")
LOOPBACK = "127.0.0.1"
_FOLDER_MODE = 0o700
_TOKEN_BYTES = 24


def listen(name: str, port: int, folder: Path = FOLDER) -> tuple[socket.socket, str]:
    """A listening socket on loopback, and the token of the page of that name.

    ``port`` 0: the last one of that name, or any if another server has it; that server's
    page keeps its token. Raises :class:`OSError` if a ``port`` that was asked for is taken.
    """
    kept = _kept(folder / f"{name}.json")
    if port == 0 and kept is not None:
        try:
            return socket.create_server((LOOPBACK, kept[0])), kept[1]
        except OSError:
            return socket.create_server((LOOPBACK, 0)), _new_token()
    listener = socket.create_server((LOOPBACK, port))
    token = kept[1] if kept is not None else _new_token()
    _keep(folder / f"{name}.json", listener.getsockname()[1], token)
    return listener, token


def _new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _kept(path: Path) -> tuple[int, str] | None:
    """Port and token; None where nothing can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return int(found["port"]), str(found["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, port: int, token: str) -> None:
    """Whole or not at all: two watchers may begin at once."""
    path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with open(opened, "w", encoding="utf-8") as file:
        json.dump({"port": port, "token": token}, file)
    partial.replace(path)
