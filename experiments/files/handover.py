"""Gives the results to the user who called sudo.

Only what this process has created changes its owner. An existing folder for results does
not, nor do files that another user puts there during a run. Therefore no owner is changed
by name: each entry is opened without following links and checked, and then the opened
entry is changed, even if its name refers to another file by then.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Older files existed before. The kernel sets a file's time from its last clock tick, at
#: most 10 ms ago (``current_time``, CONFIG_HZ=100).
_BEGAN_NS = time.time_ns() - 10_000_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

#: Folders that this process created, by device and inode.
_made: set[tuple[int, int]] = set()


def make_folders(path: Path) -> Path:
    """Creates that folder and its missing parents; returns its absolute path.

    The mode is 0755 without the bits in the caller's umask. Raises ``OSError``.
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
    """Gives those files, or the contents of those folders, to the user who called sudo.

    The folders and their parents change too if :func:`make_folders` created them. Files
    of other users than root, files older than this process, links, and files with several
    names are left alone (``ln`` needs no permission on its target). Does nothing without
    sudo. ``paths`` are absolute.
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
    """Creates a folder and remembers it, unless another process has created it."""
    with _opened(path.parent.resolve(), _FOLDER) as parent:
        try:
            os.mkdir(path.name, 0o755, dir_fd=parent)
        except FileExistsError:
            return
        with _opened(path.name, _FOLDER, parent) as made:
            if os.fstat(made).st_uid == os.geteuid() and not os.listdir(made):
                _made.add(_identity(made))


def _chown_made(path: Path, owner: tuple[int, int]) -> None:
    """Changes one folder, without its contents, if :func:`make_folders` created it."""
    with suppress(NotADirectoryError, FileNotFoundError), _opened(path, _FOLDER) as one:
        if _identity(one) in _made:
            os.fchown(one, *owner)


def _chown_contents(folder: int, owner: tuple[int, int]) -> None:
    for entry in os.listdir(folder):
        _chown(entry, folder, owner)


def _chown(name: str, parent: int, owner: tuple[int, int]) -> None:
    """Changes one entry of the folder ``parent``.

    The contents of a folder come first, so that its new owner cannot change it meanwhile.
    """
    try:
        entry = os.open(name, _ENTRY, dir_fd=parent)
    except FileNotFoundError:
        return  # removed meanwhile, with permission
    # This link refers to the opened file, not to the file that has the name now.
    itself = f"/proc/self/fd/{entry}"
    try:
        status = os.fstat(entry)
        if stat.S_ISDIR(status.st_mode):
            # A mounted file system is not part of the results.
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
    """Whether root owns it, and it is not older than this process.

    Only the owner of a file can set its time (utimensat(2)).
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
