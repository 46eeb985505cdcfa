"""fio's command lines, and how its source port is set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nodes.clients.block_options import Layout
from nodes.clients.client_options import ClientOptions

#: The local port range of the caller's network namespace (ip-sysctl).
PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Interval of a job's status. The last status is the result of a killed fio.
STATUS_INTERVAL = "500ms"
#: Longer than any run: fio ends by SIGTERM.
RUNTIME_S = 10 * 86400


def port_range(port: int) -> str:
    """The range of local ports with which fio's job connects from ``port``.

    fio connects twice: first to read the export's size, and closes that connection; then
    for the job. Linux tries the first port of the range first, and skips it while it is in
    TIME_WAIT (__inet_hash_connect). So the first connection has the port before ``port``.
    """
    return f"{port - 1} {port}\n"


def load_argv(
    options: ClientOptions, layout: Layout, conn: int, output: Path
) -> list[str]:
    """One fio with one connection, which writes its own blocks in turn without end.

    It reads each block back before it writes the next (``verify_backlog``).
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


def verify_argv(
    options: ClientOptions, layout: Layout, blocks: Sequence[int], output: Path
) -> list[str]:
    """One fio that reads every block. Connection k has written ``blocks[k]`` blocks."""
    argv = [*_shared(options, layout, output), "--rw=read"]
    for conn, count in enumerate(blocks):
        if count:
            argv += _section(layout, conn, count)
    return argv


def _shared(options: ClientOptions, layout: Layout, output: Path) -> list[str]:
    host = f"[{options.target}]" if ":" in options.target else options.target
    return [
        "fio",
        "--thread",  # one process: killing it closes all connections
        "--clocksource=clock_gettime",  # no calibration: it starts twice as fast
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
