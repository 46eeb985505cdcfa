"""Larger receive buffers at the ports of a userspace switch, and their drop counters.

Open vSwitch's userspace datapath reads each port through a packet socket with a buffer of
the default size: some 270 small frames. Further frames are dropped. A fan-out after a large
failure is thousands of frames at once, and each lost copy leaves a connection half open.
Open vSwitch has no option for it. So the daemon's sockets are duplicated (pidfd_getfd(2)),
and their buffers enlarged to those of a real switch.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

#: Memory for frames that wait at one port, in octets. Data centre switches have 12 to 32
#: MiB. It is used only while frames wait.
PORT_BUFFER_OCTETS = 32 << 20

_SYS_PIDFD_GETFD = 438  # the same on every architecture (asm-generic/unistd.h)
_SO_RCVBUFFORCE, _SO_DOMAIN = 33, 39  # asm-generic/socket.h
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/if_packet.h
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, drops

_libc = ctypes.CDLL(None, use_errno=True)


def enlarge_port_buffers(pid: int) -> int:
    """Enlarge the buffer of every port of that ovs-vswitchd; the number of ports.

    Raises :class:`OSError` where the kernel does not allow it (Linux before 5.6).
    """
    ports = 0
    for port in _packet_sockets(pid):
        # The kernel doubles this value, for its own overhead.
        port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, PORT_BUFFER_OCTETS // 2)
        ports += 1
    return ports


def count_dropped(pid: int) -> int:
    """Frames dropped at its ports since the last call, which resets the counters."""
    lost = 0
    for port in _packet_sockets(pid):
        data = port.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        lost += _STATISTICS.unpack(data)[1]
    return lost


def _packet_sockets(pid: int) -> Iterator[socket.socket]:
    """Duplicates of its AF_PACKET sockets, each open during its iteration."""
    with _pidfd(pid) as pidfd:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
                with closing(_duplicate(pidfd, int(name))) as duplicate:
                    if duplicate.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN) == (
                        socket.AF_PACKET
                    ):
                        yield duplicate


@contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _duplicate(pidfd: int, number: int) -> socket.socket:
    """Our own descriptor for that process's descriptor ``number``.

    Raises :class:`FileNotFoundError` if the process has closed it meanwhile.
    """
    ours: int = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if ours < 0:
        error = ctypes.get_errno()
        if error == errno.EBADF:
            raise FileNotFoundError(error, f"descriptor {number} has been closed")
        raise OSError(error, f"pidfd_getfd: {os.strerror(error)}")
    # The calls made on it work with any family.
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, fileno=ours)
