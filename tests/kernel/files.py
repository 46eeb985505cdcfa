"""The files of a checkout as they are now: tracked and untracked, not the ignored ones."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import IO


def archive(checkout: Path, file: IO[bytes], **added: str) -> None:
    """Writes a tar archive of them to ``file``, and of ``added``: name -> text."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(files_of(checkout)):
            if os.path.lexists(checkout / name):  # git lists what was deleted, too
                tar.add(checkout / name, name, recursive=False, filter=_as_root)
        for name, text in added.items():
            _add_text(tar, name, text)


def files_of(checkout: Path) -> Iterator[str]:
    """Their paths in the checkout: by git(1), or without a repository by .gitignore."""
    own = ("-c", f"safe.directory={checkout}", "-C", str(checkout))
    ask = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        done = subprocess.run(("git", *own, *ask), capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        yield from _by_ignore_file(checkout)
    else:
        yield from filter(None, done.stdout.decode().split("\0"))


def _by_ignore_file(checkout: Path) -> Iterator[str]:
    """As plain patterns of names, which is all that this project's .gitignore holds."""
    ignore = checkout / ".gitignore"
    lines = ignore.read_text().splitlines() if ignore.exists() else []
    patterns = [".git", *(line.strip("/ ") for line in lines if line.strip("/ "))]

    def kept(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in patterns)

    for folder, below, names in os.walk(checkout):
        below[:] = filter(kept, below)
        for name in filter(kept, names):
            yield os.path.relpath(os.path.join(folder, name), checkout)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    import io

    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
