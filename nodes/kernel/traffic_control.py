"""BPF programs on the tc hooks of interfaces in other network namespaces.

Netlink is used directly: ``nsenter`` and ``tc`` need two processes for each interface and
take a hundred times as long. Sources: ``linux/rtnetlink.h``, ``linux/pkt_sched.h``,
``linux/pkt_cls.h``. tc-bpf(8) does the same by hand.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping

from nodes.kernel.network_namespace import enter_netns

_MESSAGE = struct.Struct("=IHHII")  # nlmsghdr
_TCMSG = struct.Struct("=BxHiIII")
_ATTRIBUTE = struct.Struct("=HH")  # nlattr
_ERROR = struct.Struct("=i")

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NEW_QDISC, _DELETE_QDISC, _NEW_FILTER, _GET_FILTER = 36, 37, 44, 46
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_GROUP_TC = 1 << 3  # RTNLGRP_TC
_KIND, _OPTIONS = 1, 2
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 6, 7, 8, 11
_DIRECT_ACTION = 1
_CLSACT_HANDLE, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
#: Hook -> the parent that filters have there.
_HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
#: Priority 1, every protocol (ETH_P_ALL in network order).
_FIRST_FOR_ALL = 1 << 16 | socket.htons(3)
_HANDLE = 1
_BUFFER = 1 << 16


class Interface:
    """An interface of the network namespace that process ``pid`` is in."""

    def __init__(self, pid: int, name: str) -> None:
        """Raises :class:`OSError` if there is no such process or interface."""
        with enter_netns(pid):
            self._netlink = _route_socket(0)
            self._notifications = _route_socket(_GROUP_TC)
            self._index = socket.if_nametoindex(name)

    def fileno(self) -> int:
        """Readable after a change notification; see :meth:`has_changed`."""
        return self._notifications.fileno()

    def attach(self, programs: Mapping[str, tuple[int, str]]) -> None:
        """Put programs on hooks: ``ingress``, ``egress`` -> (descriptor, name).

        Replaces earlier programs of ours. Raises :class:`OSError`.
        """
        clsact = _attribute(_KIND, b"clsact\0")
        self._request(
            _NEW_QDISC, _CREATE | _REPLACE, _CLSACT_HANDLE, _CLSACT_PARENT, 0, clsact
        )
        for hook, (descriptor, name) in programs.items():
            options = (
                _number(_BPF_FD, descriptor)
                + _attribute(_BPF_NAME, name.encode() + b"\0")
                + _number(_BPF_FLAGS, _DIRECT_ACTION)
            )
            body = _attribute(_KIND, b"bpf\0") + _attribute(_OPTIONS, options)
            self._request(
                _NEW_FILTER, _CREATE, _HANDLE, _HOOKS[hook], _FIRST_FOR_ALL, body
            )

    def programs(self) -> set[int]:
        """The kernel's ids of the BPF programs on both hooks."""
        return {
            number
            for parent in _HOOKS.values()
            for answer in self._dump(_GET_FILTER, parent)
            for number in _program_ids(answer)
        }

    def detach(self) -> None:
        """Detach everything from both hooks. Raises :class:`OSError`."""
        self._request(_DELETE_QDISC, 0, _CLSACT_HANDLE, _CLSACT_PARENT, 0, b"")

    def has_changed(self) -> bool:
        """Whether hooks in this namespace were changed since the last call."""
        changed = False
        while True:
            try:
                self._notifications.recv(_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return changed
            except OSError:  # ENOBUFS: the kernel dropped some notifications
                pass
            changed = True

    def close(self) -> None:
        """Close the sockets. Attached programs stay."""
        self._netlink.close()
        self._notifications.close()

    def _request(
        self, kind: int, flags: int, handle: int, parent: int, info: int, body: bytes
    ) -> None:
        self._send(kind, flags | _REQUEST | _ACK, handle, parent, info, body)
        for answer_kind, payload in _messages(self._netlink.recv(_BUFFER)):
            if answer_kind == _NLMSG_ERROR:
                _raise_for(payload)

    def _dump(self, kind: int, parent: int) -> Iterator[bytes]:
        """The payloads of the answers, without their headers."""
        self._send(kind, _REQUEST | _DUMP, 0, parent, 0, b"")
        while True:
            for answer_kind, payload in _messages(self._netlink.recv(_BUFFER)):
                if answer_kind == _NLMSG_DONE:
                    return
                if answer_kind == _NLMSG_ERROR:
                    _raise_for(payload)
                yield payload

    def _send(
        self, kind: int, flags: int, handle: int, parent: int, info: int, body: bytes
    ) -> None:
        message = _TCMSG.pack(0, 0, self._index, handle, parent, info) + body
        length = _MESSAGE.size + len(message)
        self._netlink.send(_MESSAGE.pack(length, kind, flags, 0, 0) + message)


def _route_socket(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    opened.bind((0, groups))
    return opened


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each netlink message."""
    while len(data) >= _MESSAGE.size:
        length, kind, *_ = _MESSAGE.unpack_from(data)
        yield kind, data[_MESSAGE.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _program_ids(filter_message: bytes) -> Iterator[int]:
    for kind, value in _attributes(filter_message[_TCMSG.size :]):
        if kind == _OPTIONS:
            for inner, number in _attributes(value):
                if inner == _BPF_ID:
                    yield int(struct.unpack("=I", number)[0])


def _raise_for(payload: bytes) -> None:
    """Raises the error of an error message; 0 is an acknowledgment."""
    error = -_ERROR.unpack_from(payload)[0]
    if error:
        raise OSError(error, f"netlink: {os.strerror(error)}")
