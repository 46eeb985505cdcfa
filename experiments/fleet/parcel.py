"""A folder's files as one archive that is checked file by file when it arrives.

The archive is a compressed tar. Only regular files with paths inside the folder are taken
out of one, and nothing is taken out by a name that leads elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

#: gzip's fastest level: machines are near each other, and the next task waits.
_LEVEL = 1


class NotWhole(ValueError):
    """An archive is not what was packed. The text says what is wrong."""


def pack(folder: Path) -> tuple[bytes, dict[str, str]]:
    """Every regular file below ``folder``: (archive, path -> SHA-256). Empty without one."""
    packed = io.BytesIO()
    digests = {}
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=_LEVEL) as archive:
        for path in _files(folder):
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            digests[name] = hashlib.sha256(content).hexdigest()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mtime = path.stat().st_mtime
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue(), digests


def unpack(archive: bytes, digests: Mapping[str, str], folder: Path) -> None:
    """Writes the files of an archive into the new folder ``folder``, on the disk at return.

    Raises :class:`NotWhole` if they are not exactly those of ``digests``, and
    :class:`FileExistsError` if the folder exists.
    """
    folder.mkdir(parents=True)
    seen: set[str] = set()
    try:
        for name, mtime, content in _entries(archive):
            if digests.get(name) != hashlib.sha256(content).hexdigest():
                raise NotWhole(f"{name} is not what was packed")
            if name in seen:
                raise NotWhole(f"{name} is there twice")
            seen.add(name)
            _write(folder.joinpath(*PurePosixPath(name).parts), mtime, content)
    except NotWhole:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of this disk, not of the archive
        raise NotWhole(f"the archive cannot be read: {error}") from error
    if missing := sorted(set(digests) - seen):
        raise NotWhole(f"missing: {', '.join(missing)}")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _entries(archive: bytes) -> Iterator[tuple[str, float, bytes]]:
    """Name, time of change and content of every file."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        for entry in opened:
            path = PurePosixPath(entry.name)
            if not entry.isreg() or path.is_absolute() or ".." in path.parts:
                raise NotWhole(f"{entry.name!r} is no file of the folder")
            file = opened.extractfile(entry)
            content = file.read() if file else b""
            if len(content) != entry.size:
                raise NotWhole(f"{entry.name} is cut short")
            yield entry.name, float(entry.mtime), content


def _write(path: Path, mtime: float, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, (mtime, mtime))
