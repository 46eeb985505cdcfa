"""The filters of a capture, as classic BPF programs that the kernel runs.

A program is attached before the socket is bound, so a rejected segment is never copied.
 Instructions: Linux ``Documentation/networking/filter.rst``; offsets: RFC 9293
3.1, RFC 791 3.1, RFC 8200 3, behind a 14-byte Ethernet header.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from experiments.record.capture_points import DATA, FULL, RESETS, STRAYS

_FIN_SYN_RST = 0x07
_PACKET_OUTGOING = 4  # linux/if_packet.h
_AD_PKTTYPE = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE, linux/filter.h
_SO_ATTACH_FILTER = 26

# Opcodes, linux/bpf_common.h: class | size | mode.
_LDB_ABS, _LDH_ABS, _LDW_ABS = 0x30, 0x28, 0x20
_LDB_IND = 0x50  # A = byte at X + k
_LDX_IHL = 0xB1  # X = 4 * (byte at k & 0x0f)
_JEQ, _JSET, _JA = 0x15, 0x45, 0x05
_JGT_X = 0x2D  # is A > X?
_RSH, _AND, _ADD_X = 0x74, 0x54, 0x0C
_TAX = 0x07
_RET = 0x06


class FilterError(ValueError):
    """An unknown filter."""


@dataclass(frozen=True)
class _Step:
    """One instruction. A jump names its target label; ``""`` is the next instruction."""

    code: int
    k: int = 0
    yes: str = ""
    no: str = ""
    label: str = ""


#: Loads the TCP flags into A. Refuses other protocols and later fragments.
_FLAGS_OF_TCP = (
    _Step(_LDH_ABS, 12),
    _Step(_JEQ, 0x86DD, yes="ipv6"),
    _Step(_JEQ, 0x0800, no="refuse"),
    _Step(_LDB_ABS, 23),
    _Step(_JEQ, socket.IPPROTO_TCP, no="refuse"),
    _Step(_LDH_ABS, 20),
    _Step(_JSET, 0x1FFF, yes="refuse"),
    _Step(_LDX_IHL, 14),
    _Step(_LDB_IND, 14 + 13),
    _Step(_JA, yes="flags"),
    _Step(_LDB_ABS, 20, label="ipv6"),
    _Step(_JEQ, socket.IPPROTO_TCP, no="refuse"),
    _Step(_LDB_ABS, 54 + 13),
)

#: From the byte with the data offset in its upper half to the TCP header's length.
_HEADER_BYTES = (_Step(_RSH, 2), _Step(_AND, 0x3C))

#: The condition of each filter, with the TCP flags in A.
_CONDITIONS: dict[str, tuple[_Step, ...]] = {
    FULL: (_Step(_JA, yes="keep", label="flags"),),
    RESETS: (_Step(_JSET, _FIN_SYN_RST, yes="keep", no="refuse", label="flags"),),
    DATA: (
        _Step(_JSET, _FIN_SYN_RST, yes="keep", label="flags"),
        _Step(_LDH_ABS, 12),
        _Step(_JEQ, 0x86DD, yes="data6"),
        # IPv4: is the packet longer than both its headers?
        _Step(_LDX_IHL, 14),
        _Step(_LDB_IND, 14 + 12),
        *_HEADER_BYTES,
        _Step(_ADD_X),
        _Step(_TAX),
        _Step(_LDH_ABS, 16),
        _Step(_JGT_X, yes="keep", no="refuse"),
        # IPv6: its length does not include its own header.
        _Step(_LDB_ABS, 54 + 12, label="data6"),
        *_HEADER_BYTES,
        _Step(_TAX),
        _Step(_LDH_ABS, 18),
        _Step(_JGT_X, yes="keep", no="refuse"),
    ),
    STRAYS: (
        _Step(_JSET, _FIN_SYN_RST, yes="keep", label="flags"),
        _Step(_LDW_ABS, _AD_PKTTYPE),
        _Step(_JEQ, _PACKET_OUTGOING, yes="refuse", no="keep"),
    ),
}

FILTERS = tuple(_CONDITIONS)


def program(name: str, snaplen: int) -> bytes:
    """The filter ``name`` as an array of ``struct sock_filter``.

    It keeps the first ``snaplen`` bytes of each segment that passes. Raises :class:`FilterError`
    for an unknown name.
    """
    if name not in _CONDITIONS:
        raise FilterError(f"unknown filter {name!r}; known: {', '.join(FILTERS)}")
    steps = (
        *_FLAGS_OF_TCP,
        *_CONDITIONS[name],
        _Step(_RET, snaplen, label="keep"),
        _Step(_RET, 0, label="refuse"),
    )
    at = {step.label: index for index, step in enumerate(steps) if step.label}

    def distance(index: int) -> Callable[[str], int]:
        return lambda label: at[label] - index - 1 if label else 0

    return b"".join(
        _assembled(step, distance(index)) for index, step in enumerate(steps)
    )


def attach(sock: socket.socket, instructions: bytes) -> None:
    """Attaches the filter ``instructions`` to the socket (socket(7))."""
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // struct.calcsize("HBBI")
    fprog = struct.pack("HP", count, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _assembled(step: _Step, distance: Callable[[str], int]) -> bytes:
    if step.code == _JA:  # the only jump whose distance is in k
        return struct.pack("HBBI", _JA, 0, 0, distance(step.yes))
    return struct.pack("HBBI", step.code, distance(step.yes), distance(step.no), step.k)
