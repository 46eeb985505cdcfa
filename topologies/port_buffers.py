"""Room for bursts at the ports of a userspace switch, and the count of what was lost.

Open vSwitch's userspace datapath reads each port through a packet socket of the
default size: some 270 small frames, whatever comes after is dropped. A fan-out after a
large failure is thousands at once, and a copy that is lost leaves a connection half
open for good. There is no option for it, so the sockets are borrowed from the running
daemon (pidfd_getfd(2)) and given what a real switch has.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

#: Memory that frames waiting at one port may take; data centre switches have 12 to 32
#: MiB. It is taken only while they wait.
PORT_BUFFER_OCTETS = 32 << 20

_SYS_PIDFD_GETFD = 438  # the same on every architecture (asm-generic/unistd.h)
_SO_RCVBUFFORCE, _SO_DOMAIN = 33, 39  # asm-generic/socket.h
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/if_packet.h
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, drops

_libc = ctypes.CDLL(None, use_errno=True)


def enlarge_port_buffers(pid: int) -> int:
    """Give every port of that ovs-vswitchd its room; how many ports that were.

    Raises :class:`OSError` where the kernel does not allow it (Linux before 5.6).
    """
    ports = 0
    for port in _packet_sockets(pid):
        # The kernel counts its own overhead too, and doubles what it is told.
        port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, PORT_BUFFER_OCTETS // 2)
        ports += 1
    return ports


def count_dropped(pid: int) -> int:
    """Frames that its ports lost since this was last asked: the kernel forgets them."""
    lost = 0
    for port in _packet_sockets(pid):
        data = port.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        lost += _STATISTICS.unpack(data)[1]
    return lost


def _packet_sockets(pid: int) -> Iterator[socket.socket]:
    """Its sockets of family AF_PACKET, each borrowed while it is looked at."""
    with _pidfd(pid) as pidfd:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
                with closing(_duplicate(pidfd, int(name))) as borrowed:
                    if borrowed.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN) == (
                        socket.AF_PACKET
                    ):
                        yield borrowed


@contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _duplicate(pidfd: int, number: int) -> socket.socket:
    """A descriptor of our own for the socket that is ``number`` over there."""
    ours: int = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if ours < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"pidfd_getfd: {os.strerror(error)}")
    # The family is of no matter to the calls that are made with it.
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, fileno=ours)
