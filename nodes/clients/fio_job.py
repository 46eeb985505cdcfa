"""What fio is asked to do: its command lines, and how a source port is forced on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nodes.clients.block_options import Layout
from nodes.clients.client_options import ClientOptions

#: Where the network namespace of the process that asks has it (ip-sysctl).
PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: How often a job tells how far it is: what is known of one that must be killed.
STATUS_INTERVAL = "500ms"
#: Longer than any run: fio ends by SIGTERM.
RUNTIME_S = 10 * 86400


def port_range(port: int) -> str:
    """The range of local ports that makes ``port`` the one that fio's job gets.

    fio connects twice: to learn the export's size, closing first, and then to work.
    Linux tries a range's first port first and skips it while it is in TIME_WAIT
    (__inet_hash_connect), so the first connection has the port before ``port``.
    """
    return f"{port - 1} {port}\n"


def load_argv(
    options: ClientOptions, layout: Layout, conn: int, output: Path
) -> list[str]:
    """One fio with one connection: it writes block after block of its own, round and
    round, and reads each one back before the next (``verify_backlog``).
    """
    return [
        *_shared(options, layout, output),
        "--rw=write",
        f"--status-interval={STATUS_INTERVAL}",
        "--time_based",
        f"--runtime={RUNTIME_S}",
        f"--thinktime={round(options.interval_s * 1e6)}us",
        "--verify_backlog=1",
        *_section(layout, conn, layout.blocks),
    ]


def look_argv(
    options: ClientOptions, layout: Layout, blocks: Sequence[int], output: Path
) -> list[str]:
    """One fio that reads every block once more: connection k wrote ``blocks[k]``."""
    argv = [*_shared(options, layout, output), "--rw=read"]
    for conn, count in enumerate(blocks):
        if count:
            argv += _section(layout, conn, count)
    return argv


def _shared(options: ClientOptions, layout: Layout, output: Path) -> list[str]:
    host = f"[{options.target}]" if ":" in options.target else options.target
    return [
        "fio",
        "--thread",  # one process: killing it leaves no connection behind
        "--clocksource=clock_gettime",  # no calibration: it starts in half the time
        "--ioengine=nbd",
        f"--uri=nbd://{host}:{options.port}/",
        f"--bs={layout.block_size}",
        "--verify=crc32c",
        "--verify_state_save=0",
        "--continue_on_error=verify",
        "--output-format=json+",
        f"--output={output}",
    ]


def _section(layout: Layout, conn: int, blocks: int) -> list[str]:
    return [
        f"--name=conn{conn}",
        f"--offset={layout.offset(conn, 0)}",
        f"--size={blocks * layout.block_size}",
    ]
