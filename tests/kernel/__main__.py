"""``./resetbed test --kernel NAME``: the tests, or another command, on that kernel.

    ./resetbed test --kernel debian-12                        the stated subset
    ./resetbed test --kernel debian-13 -- tests/nodes -k guard    pytest with these words
    ./resetbed test --kernel debian-12 --run ./resetbed run drain-node
    ./resetbed test --kernel debian-12 --run 'uname -r; ./resetbed doctor'
    ./resetbed test --kernel debian-12 --build                no more than its machine

Before ``--run`` or ``--``: ``--timeout SECONDS``, how long the command may take (1800).
The exit status is the command's; 2 bad input, 3 this machine lacks something, 124 the
command took too long.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import guest
from tests.kernel.errors import BadInput, Lacking, TooLong
from tests.kernel.images import CHECKOUT, RELEASES, image

TIMEOUT_S = 1800.0
MARK = "pytest.mark.kernel"
#: What every command in a guest is told: which kernel it is on, and that nothing that
#: these kernels have may be skipped.
VARIABLES = "CI=true RESETBED_PACKAGES=ready RESETBED_KERNEL"


@dataclass(frozen=True)
class Asked:
    """What a call asks for. ``command``: "" for no more than the machine."""

    name: str
    command: str
    timeout_s: float = TIMEOUT_S


def asked(arguments: list[str]) -> Asked:
    """Reads the words of a call. Raises :class:`BadInput`."""
    if not arguments or arguments[0] not in RELEASES:
        named = repr(arguments[0]) if arguments else "none"
        raise BadInput(f"--kernel is one of {', '.join(RELEASES)}, and not {named}")
    name, *rest = arguments
    timeout_s = TIMEOUT_S
    if rest and rest[0] == "--timeout":
        timeout_s, rest = _seconds(rest[1:2]), rest[2:]
    if rest == ["--build"]:
        return Asked(name, "")
    if not rest:
        command = shell_line_of_tests(subset())
    elif rest[0] == "--":
        command = shell_line_of_tests(rest[1:])
    elif rest[0] == "--run" and rest[1:]:
        command = guest.shell_line(rest[1:])
    else:
        raise BadInput(
            f"expected --timeout, --run COMMAND, --build or -- PYTEST ARGS: {rest[0]!r}"
        )
    return Asked(name, f"export {VARIABLES}={name}\n{command}\n", timeout_s)


def _seconds(words: list[str]) -> float:
    try:
        seconds = float(words[0])
    except (IndexError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInput("--timeout takes a number of seconds above 0")
    return seconds


def shell_line_of_tests(words: list[str]) -> str:
    """The test command in the guest. One process: it has few and slow cores."""
    own = ["-n", "0", "-v", *words]
    return guest.shell_line(["./resetbed", "test", *own])


def subset() -> list[str]:
    """The words by which pytest runs what is marked ``kernel``, and reads no other file."""
    marked = (
        str(path.relative_to(CHECKOUT))
        for path in sorted(CHECKOUT.glob("tests/**/test_*.py"))
        if MARK in path.read_text()
    )
    return ["-m", "kernel", *marked]


def say(message: str) -> None:
    """Tells the user how far it is."""
    print(f"resetbed: {message}", file=sys.stderr, flush=True)


def write(output: bytes) -> None:
    """Passes on what the command in the guest said."""
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def main(keep: Path, arguments: list[str]) -> int:
    """Does what is asked; the exit status."""
    try:
        wanted = asked(arguments)
        with image(wanted.name, keep, say) as folder:
            if not wanted.command:
                return 0
            return guest.run(folder, wanted.command, wanted.timeout_s, write, say)
    except (BadInput, Lacking, TooLong) as error:
        say(str(error))
        return {BadInput: 2, Lacking: 3, TooLong: 124}[type(error)]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        say("ended at your wish, and the guest with it")
        return 128 + signal.SIGINT


def end(number: int, _frame: object) -> None:
    """A signal that ends us ends what we have begun first."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
