"""Images of machines with a distribution's own kernel: built once, kept, never half.

An image is a folder whose name ends in its stamp: a hash of all that it is made from. It
is built under another name and renamed when it is whole, so what a killed build leaves is
never taken for one; and one that was made from other lists is simply not found.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.errors import Lacking
from tests.kernel.files import archive
from tests.kernel.sources import (
    Source,
    deb822_sources,
    one_line_sources,
    read_os_release,
    sources_for,
)

CHECKOUT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
#: The kernels that there are: name -> Debian's release.
RELEASES = {"debian-12": "bookworm", "debian-13": "trixie"}
#: Free octets that a build takes: the tree and the disk image made of it.
NEEDED_OCTETS = 9 * 10**9
_STAMP_DIGITS = 12

#: What ``./resetbed setup`` installs, and how: the lists, and the functions that read them.
_RECIPE = """
source "$1"
for list in "resetbed packages" "resetbed test_packages" "resetbed postgres_packages" \\
    "resetbed smb_packages" "resetbed ryu_build" \\
    "options install_requires" "options.extras_require test" "options.extras_require ryu"
do echo "$list"; listed $list; done
declare -f packages_wanted contents make_environment fill_venv fill_venv-ryu pip_install
"""


def stamp(name: str, checkout: Path = CHECKOUT) -> str:
    """A hash of all that the image ``name`` is made from: what setup installs, how, and
    the builder itself."""
    recipe = ("bash", "-c", _RECIPE, "bash", str(checkout / "resetbed"))
    parts = [
        name.encode(),
        subprocess.run(recipe, check=True, capture_output=True).stdout,
    ]
    parts += [(_HERE / part).read_bytes() for part in ("build", "initramfs")]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return digest[:_STAMP_DIGITS]


@contextmanager
def image(name: str, keep: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """The folder of a whole image, built if there is none; it stays while in use.

    It holds ``disk``, ``kernel``, ``initramfs`` and ``version``. Raises
    :class:`Lacking`.
    """
    keep.mkdir(parents=True, exist_ok=True)
    folder = keep / f"{name}-{stamp(name)}"
    while True:
        if not folder.exists():
            with _locked(keep / f"{name}.lock", say):
                if not folder.exists():
                    _build(name, folder, say)
                _remove_others(name, folder)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # a build of another stamp has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if folder.exists():
                yield folder
                return
        finally:
            os.close(handle)


@contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One build of an image at a time; the lock ends with this process, however it does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of it is under way, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_others(name: str, folder: Path) -> None:
    """Removes images of that name that were made from something else, unless in use."""
    for other in folder.parent.glob(f"{name}-*"):
        if other != folder:
            handle = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other)
            except BlockingIOError:
                pass
            finally:
                os.close(handle)


def _build(name: str, folder: Path, say: Callable[[str], None]) -> None:
    if os.uname().machine != "x86_64":
        raise Lacking("the machines with a stock kernel are x86-64's, and this is none")
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_OCTETS:
        raise Lacking(f"{folder.parent} has {free / 1e9:.1f} GB free; 9 GB are needed")
    # The holder of the lock may replace what a killed process has left.
    partial = folder.parent / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        _run_builder(name, partial, say)
        os.sync()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"the image is kept in {folder}")


def _run_builder(name: str, partial: Path, say: Callable[[str], None]) -> None:
    """Runs ``build``; all of it, and its mounts, end with this process."""
    release = RELEASES[name]
    sources = sources_for(release, _machine_sources(), _os_release())
    (partial / "sources.list").write_text("".join(f"{s.line()}\n" for s in sources))
    with (partial / "files.tar").open("wb") as file:
        archive(CHECKOUT, file)
    own = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    builder = ("bash", str(_HERE / "build"), release, str(partial))
    command = ("setpriv", "--pdeathsig", "KILL", *own, *builder)
    say(f"building a machine with {name}'s kernel (some four minutes, once)")
    log = partial / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as builder_process,
    ):
        assert builder_process.stdout
        try:
            for line in builder_process.stdout:
                say(f"  {line.rstrip()}")
        except BaseException:
            builder_process.kill()  # else it would be waited for
            raise
    if builder_process.returncode:
        last = log.read_text(errors="replace").splitlines()[-15:]
        raise Lacking("\n    ".join(("the image could not be built:", *last)))


def _machine_sources() -> Sequence[Source]:
    """All entries that apt reads on this machine."""
    apt = Path("/etc/apt")
    found: list[Source] = []
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))):
        if path.is_file():
            read = deb822_sources if path.suffix == ".sources" else one_line_sources
            if path.suffix in (".list", ".sources"):
                found += read(path.read_text(errors="replace"))
    return found


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    return read_os_release(path.read_text()) if path.exists() else {}
