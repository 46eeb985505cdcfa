"""A guest: boots an image under QEMU, runs one command in it, passes on what it says.

The guest has no network. Its disk is the image, read only, under an overlay that QEMU
unlinks as soon as it has it; everything else it is given are open files without a name.
So nothing is left behind, whatever is killed, and any number of guests run at once.
"""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.kernel.errors import Lacking, TooLong
from tests.kernel.files import archive
from tests.kernel.images import CHECKOUT

#: How long a guest may take to boot: seconds by what runs its instructions.
BOOT_S = {"kvm": 30.0, "tcg": 180.0}
_ACCELERATORS = {"kvm": ("-accel", "kvm", "-cpu", "host")}
_ACCELERATORS["tcg"] = ("-accel", "tcg,thread=multi", "-cpu", "max")
_HOW = {"kvm": "by KVM", "tcg": "emulated: some 15 times slower than this machine"}
#: Where there is none, the kernel has no virtual machines.
_KVM = Path("/dev/kvm")
#: Beside the image: which kernel could not run it by KVM.
_FINDING = "kvm-does-not-work"
_MOST_CORES = 4
_MEMORY_MB = (2048, 6144)
_MEBIBYTE = 2**20
#: Time for QEMU to end by itself after the guest has told the command's status.
_POWER_OFF_S = 10.0


class NotUp(Exception):
    """The guest did not boot in its time, or died on the way; the text is its console's."""


def run(
    folder: Path,
    command: str,
    timeout_s: float,
    write: Callable[[bytes], None],
    say: Callable[[str], None],
) -> int:
    """The exit status of a shell command in a guest of the image in ``folder``.

    Its output goes to ``write`` as it comes. KVM is tried where there is one, and what
    came of it is remembered beside the image. Raises :class:`Lacking` where no guest
    boots, :class:`TooLong` after ``timeout_s`` seconds of the command.
    """
    version = (folder / "version").read_text().strip()
    for kind in accelerators(folder, say):
        say(f"booting Linux {version}, {_HOW[kind]}")
        try:
            with _running(folder, kind, command) as guest:
                guest.wait_until_up(BOOT_S[kind])
                say(f"it is up after {time.monotonic() - guest.began:.0f} s")
                return guest.finish(timeout_s, write)
        except NotUp as failure:
            if kind == "tcg":
                raise Lacking(f"the guest did not boot: {failure}") from failure
            say(f"no guest boots here by KVM, so it will be emulated: {failure}")
            (folder / _FINDING).write_text(os.uname().release + "\n")
    raise AssertionError("unreachable: the last accelerator ends in a result")


def accelerators(folder: Path, say: Callable[[str], None]) -> list[str]:
    """What to try, best first. KVM can be there and its guests hang all the same, so
    that it works is not known before one has booted."""
    finding = folder / _FINDING
    if not os.access(_KVM, os.R_OK | os.W_OK):
        say(f"no {_KVM} to be used here: the guest is emulated")
    elif finding.exists() and finding.read_text().strip() == os.uname().release:
        say(f"no guest booted here by KVM before ({finding}): it is emulated")
    else:
        return ["kvm", "tcg"]
    return ["tcg"]


@contextmanager
def _running(folder: Path, kind: str, command: str) -> Iterator[Guest]:
    """A guest from power on to power off."""
    with tempfile.TemporaryFile() as files, tempfile.TemporaryFile() as console:
        archive(CHECKOUT, files, **{".command": command})
        files.truncate(-(-files.tell() // 512) * 512)
        files.flush()
        output, output_end = os.pipe()
        told, told_end = os.pipe()
        passed = (files.fileno(), console.fileno(), output_end, told_end)
        process = subprocess.Popen(
            _command_line(folder, kind, *passed),
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        os.close(output_end)
        os.close(told_end)
        guest = Guest(process, output, told, console)
        try:
            yield guest
        finally:
            guest.close()


def _command_line(
    folder: Path, kind: str, files: int, console: int, output: int, told: int
) -> list[str]:
    """QEMU's, with these open files as its second disk and its serial lines."""
    cores = min(os.cpu_count() or 1, _MOST_CORES)
    kernel = ["-kernel", str(folder / "kernel"), "-initrd", str(folder / "initramfs")]
    return [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *_ACCELERATORS[kind],
        *("-smp", str(cores), "-m", str(_memory_mb())),
        *(*kernel, "-append", "console=ttyS0 quiet panic=-1"),
        *_drive(f"file={folder / 'disk'},snapshot=on"),
        *_drive(f"file=/proc/self/fd/{files},readonly=on"),
        *_serial("console", console),
        *_serial("output", output),
        *_serial("told", told),
        *("-nic", "none", "-device", "virtio-rng-pci"),
    ]


def _drive(options: str) -> tuple[str, str]:
    return "-drive", f"{options},format=raw,if=virtio,cache=unsafe"


def _serial(name: str, descriptor: int) -> tuple[str, ...]:
    path = f"/proc/self/fd/{descriptor}"
    line = f"file,id={name},path={path},append=on"
    return "-chardev", line, "-serial", f"chardev:{name}"


def _memory_mb() -> int:
    """Half of what the machine has left, within bounds."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo").read_text().splitlines()
    for line in meminfo:
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    least, most = _MEMORY_MB
    return max(least, min(most, free // 2 // _MEBIBYTE))


@dataclass
class Guest:
    """A running QEMU, and the ends of its serial lines."""

    process: subprocess.Popen[bytes]
    output: int
    told: int
    console: IO[bytes]
    began: float = field(default_factory=time.monotonic)
    _lines: bytes = b""
    _early: bytes = b""

    def wait_until_up(self, timeout_s: float) -> None:
        """Returns when the command begins. Raises :class:`NotUp`."""
        for chunk in self._chunks(self.began + timeout_s):
            self._early += chunk
            if b"up\n" in self._lines:
                return
        raise NotUp(
            f"not up in {time.monotonic() - self.began:.0f} s{self._last_words()}"
        )

    def finish(self, timeout_s: float, write: Callable[[bytes], None]) -> int:
        """The command's status. Raises :class:`TooLong`, or :class:`Lacking` if it died."""
        write(self._early)
        deadline = time.monotonic() + timeout_s
        for chunk in self._chunks(deadline):
            write(chunk)
        for line in self._lines.splitlines():
            if line.startswith(b"status "):
                return int(line.split()[1])
        if time.monotonic() >= deadline:
            raise TooLong(
                f"the command did not end in {timeout_s:.0f} s; the guest was ended"
            )
        raise Lacking(
            f"the guest died before the command had ended{self._last_words()}"
        )

    def _chunks(self, deadline: float) -> Iterator[bytes]:
        """Output as it comes, b"" at each word told, until both lines end or time does.

        The lines end with the guest; output that was written before is complete then.
        """
        with selectors.DefaultSelector() as selector:
            for line in (self.output, self.told):
                selector.register(line, selectors.EVENT_READ)
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    chunk = os.read(key.fd, 2**16)
                    if not chunk:
                        selector.unregister(key.fd)
                    elif key.fd == self.told:
                        self._lines += chunk
                        if b"status" in self._lines:
                            deadline = min(deadline, time.monotonic() + _POWER_OFF_S)
                        yield b""
                    else:
                        yield chunk

    def _last_words(self) -> str:
        """The end of the console, and of QEMU's complaints."""
        size = os.fstat(self.console.fileno()).st_size
        text = os.pread(self.console.fileno(), 4096, max(0, size - 4096))
        lines = text.decode(errors="replace").replace("\r", "").splitlines()[-12:]
        return "".join(f"\n    {line}" for line in lines)

    def close(self) -> None:
        """Ends it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self.output)
        os.close(self.told)


def shell_line(words: list[str]) -> str:
    """Words as a shell's line; one alone is a line already.

    >>> shell_line(["echo", "a b"]), shell_line(["echo $HOME; ls"])
    ("echo 'a b'", 'echo $HOME; ls')
    """
    return words[0] if len(words) == 1 else shlex.join(words)
