"""Atomic writes: a file is written under a temporary name, then renamed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> Path:
    """Writes a file with that content at ``path``; returns ``path``.

    A reader sees the whole new content or the old one, also after a crash of the machine
    (rename(2), fsync(2)). A symbolic link at the place is replaced, never followed
    (open(2), O_EXCL). Raises :class:`OSError`.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    try:
        with scratch.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        return scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)  # a part of a file, where the disk is full
