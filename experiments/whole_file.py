"""A file that is whole or not there: written beside its place, then moved into it."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Puts a file with that text at ``path``: who reads it sees all of it, or what was
    there before, also after a crash of the machine (rename(2), fsync(2)).

    Raises :class:`OSError`.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
