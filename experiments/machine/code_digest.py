"""One digest of the code that decides what a run does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("controller", "experiments", "nodes", "topologies")
#: The launcher, and the versions of packages that it installs.
_FILES = ("resetbed", "setup.cfg")


def code_digest(checkout: Path = CHECKOUT) -> str:
    """SHA-256 of the paths and contents of all files of the packages.

    Unlike a commit it tells changed files apart, and needs no git.
    """
    digest = hashlib.sha256()
    for path in sorted(_files(checkout)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(checkout)}\0{content}\n".encode())
    return digest.hexdigest()


def _files(checkout: Path) -> Iterator[Path]:
    yield from (checkout / name for name in _FILES)
    for package in _PACKAGES:
        for path in (checkout / package).rglob("*"):
            inside = path.relative_to(checkout).parts
            hidden = any(part.startswith((".", "__pycache__")) for part in inside)
            if path.is_file() and not hidden:
                yield path
