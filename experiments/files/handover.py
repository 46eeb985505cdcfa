"""Results belong to the user who called sudo: what this process made is handed over.

Nothing else is: not the folder that results are put into, unless it was made for them,
and not what somebody else puts among them while a run is under way. So nothing is
changed by its name. Each thing is opened first, without following a link, and looked
at; then what was looked at is changed, whatever has its name by then.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: What is older was there before. Times of files are those of the last tick of the
#: kernel's clock, at most 10 ms ago (``current_time``, CONFIG_HZ=100).
_BEGAN_NS = time.time_ns() - 10_000_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

#: Folders that this process made, by device and inode.
_made: set[tuple[int, int]] = set()


def make_folders(path: Path) -> Path:
    """That folder, and every one above it that is missing; its absolute path.

    Each has mode 0755, or less where the caller's umask says so. Raises ``OSError``.
    """
    path = path.absolute()
    try:
        inside = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        make_folders(path.parent)
        _make(path)
    else:
        os.close(inside)
    return path.resolve()


def chown_to_caller(*paths: Path) -> None:
    """Hands those files, or what is in those folders, over to sudo's caller.

    The folders themselves, and those above them, only if :func:`make_folders` made
    them. Not handed over either: what is not root's, what is older than this process,
    links, and files of several names (``ln`` needs no right to what it links). Nothing
    is done where nobody called sudo. ``paths`` are absolute.
    """
    if "SUDO_UID" not in os.environ or os.geteuid():
        return
    owner = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            with _opened(path, _FOLDER) as folder:
                _chown_contents(folder, owner)
        else:
            with _opened(path.parent, _FOLDER) as folder:
                _chown(path.name, folder, owner)
        for made in (path, *path.parents):
            _chown_made(made, owner)


def _make(path: Path) -> None:
    """Makes a folder, unless somebody else has meanwhile, and remembers it."""
    with _opened(path.parent.resolve(), _FOLDER) as parent:
        try:
            os.mkdir(path.name, 0o755, dir_fd=parent)
        except FileExistsError:
            return
        with _opened(path.name, _FOLDER, parent) as made:
            if os.fstat(made).st_uid == os.geteuid() and not os.listdir(made):
                _made.add(_identity(made))


def _chown_made(path: Path, owner: tuple[int, int]) -> None:
    """One folder, not what is in it, if :func:`make_folders` made it."""
    with suppress(NotADirectoryError, FileNotFoundError), _opened(path, _FOLDER) as one:
        if _identity(one) in _made:
            os.fchown(one, *owner)


def _chown_contents(folder: int, owner: tuple[int, int]) -> None:
    for entry in os.listdir(folder):
        _chown(entry, folder, owner)


def _chown(name: str, parent: int, owner: tuple[int, int]) -> None:
    """One entry of the folder ``parent``; what is in it before it itself, so that
    nobody else can change a folder while it is gone through."""
    try:
        entry = os.open(name, _ENTRY, dir_fd=parent)
    except FileNotFoundError:
        return  # somebody who may has removed it
    # The descriptor's own link leads to what was opened, not to what has its name now.
    itself = f"/proc/self/fd/{entry}"
    try:
        status = os.fstat(entry)
        if stat.S_ISDIR(status.st_mode):
            # What is mounted there is none of ours.
            if status.st_dev == os.fstat(parent).st_dev:
                with _opened(itself, os.O_RDONLY | os.O_CLOEXEC) as folder:
                    _chown_contents(folder, owner)
        elif not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            return
        if _is_ours(status):
            os.chown(itself, *owner)
    finally:
        os.close(entry)


def _is_ours(status: os.stat_result) -> bool:
    """Whether it is root's, and no older than this process.

    Only its owner can set a file's time back or forward at will (utimensat(2)).
    """
    return status.st_uid == 0 and status.st_mtime_ns >= _BEGAN_NS


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


@contextmanager
def _opened(path: Path | str, flags: int, parent: int | None = None) -> Iterator[int]:
    opened = os.open(path, flags, dir_fd=parent)
    try:
        yield opened
    finally:
        os.close(opened)
