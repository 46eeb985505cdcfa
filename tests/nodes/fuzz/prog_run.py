"""Runs a loaded tc program on a packet: bpf(2), ``BPF_PROG_TEST_RUN``.

The kernel (``bpf_prog_test_run_skb``) makes an skb of the bytes, as if the interface of
that index in the caller's network namespace had received it. What the program looks up
there is real: sockets, maps, clock.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import NamedTuple

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_TEST_RUN = 10
#: Part of ``union bpf_attr``: descriptor, retval, sizes in and out, data in and out,
#: repeat, duration, context sizes in and out, context in and out, flags, cpu, batch.
_ATTRIBUTES = struct.Struct("=IIIIQQIIIIQQIII4x")
_CONTEXT_SIZE = 192  # struct __sk_buff
_MARK_AT, _IFINDEX_AT = 8, 40
_LARGEST = 1 << 16


class Ran(NamedTuple):
    """Return code, bytes and mark of the packet afterwards."""

    code: int
    frame: bytes
    mark: int


class ProgramRun:
    """A loaded program, by its descriptor, to be run many times."""

    def __init__(self, descriptor: int) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._number = _SYSCALL[platform.machine()]
        self._descriptor = descriptor
        self._given, self._frame = (bytearray(_LARGEST) for _ in range(2))
        self._context, self._context_after = (
            bytearray(_CONTEXT_SIZE) for _ in range(2)
        )
        self._attributes = bytearray(_ATTRIBUTES.size)
        self._addresses = [
            ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            for buffer in (
                self._given,
                self._frame,
                self._context,
                self._context_after,
                self._attributes,
            )
        ]

    def run(self, frame: bytes, index: int, mark: int) -> Ran:
        """Run it once. Raises :class:`OSError` if the kernel refuses the packet."""
        given, out, context, context_after, attributes = self._addresses
        self._given[: len(frame)] = frame
        struct.pack_into("=I", self._context, _MARK_AT, mark)
        struct.pack_into("=I", self._context, _IFINDEX_AT, index)
        _ATTRIBUTES.pack_into(
            self._attributes,
            0,
            *(self._descriptor, 0, len(frame), _LARGEST, given, out, 1, 0),
            *(_CONTEXT_SIZE, _CONTEXT_SIZE, context, context_after),
            *(0, 0, 0),
        )
        if self._call(
            self._number, _PROG_TEST_RUN, ctypes.c_void_p(attributes), _ATTRIBUTES.size
        ):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        _, returned, _, size, *_ = _ATTRIBUTES.unpack_from(self._attributes)
        (mark_after,) = struct.unpack_from("=I", self._context_after, _MARK_AT)
        signed = returned - (1 << 32) if returned >> 31 else returned
        return Ran(signed, bytes(self._frame[:size]), mark_after)
