"""A tap device: an interface whose other end is a file descriptor of this process.

A frame that is written has been through the kernel's receive path when ``write`` returns
(``tun_get_user``). So nothing needs to be waited for.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TAP, _NO_PACKET_INFO, _VNET_HEADER = 0x0002, 0x1000, 0x4000
_REQUEST = struct.Struct("=16sH22x")
#: struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
VNET = struct.Struct("=BBHHHH")
NO_OFFLOAD = VNET.pack(0, 0, 0, 0, 0, 0)
_LARGEST = 1 << 17


class Tap:
    """A tap device in the current network namespace; up, with that MAC address."""

    def __init__(self, name: str, mac: str) -> None:
        """Raises :class:`OSError` where there is no ``/dev/net/tun``."""
        self.name = name
        self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _TAP | _NO_PACKET_INFO | _VNET_HEADER
        fcntl.ioctl(self._descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), flags))
        for command in (f"address {mac}", "up"):
            subprocess.run(["ip", "link", "set", name, *command.split()], check=True)
        self.index = socket.if_nametoindex(name)

    def write(self, frame: bytes, offload: bytes = NO_OFFLOAD) -> None:
        """Let the kernel receive a frame; ``offload`` is its virtio_net_hdr."""
        os.write(self._descriptor, offload + frame)

    def read(self) -> list[tuple[bytes, bytes]]:
        """(virtio_net_hdr, frame) of all that the kernel has sent since the last call."""
        sent: list[tuple[bytes, bytes]] = []
        while True:
            try:
                data = os.read(self._descriptor, _LARGEST)
            except BlockingIOError:
                return sent
            sent.append((data[: VNET.size], data[VNET.size :]))
