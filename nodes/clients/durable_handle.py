"""Durable handles of SMB 3: the contexts of a CREATE that ask for one and reclaim it."""

from __future__ import annotations

import struct

from impacket import smb3structs

#: The names of the contexts (MS-SMB2 2.2.13.2.11 and .12).
_REQUEST, _RECONNECT = b"DH2Q", b"DH2C"
#: Timeout, flags and reserved: for how long the handle is kept is the server's choice.
_ASKED = struct.Struct("<LLQ16s")
#: The handle, its creator's name for it, flags.
_CLAIMED = struct.Struct("<16s16sL")
#: The fixed part of a context, and the name with its padding (MS-SMB2 2.2.13.2).
_FIXED, _NAME = 16, 8


def durable_request(guid: bytes) -> smb3structs.SMB2CreateContext:
    """Asks that the handle, which ``guid`` names, survives its connection."""
    return _context(_REQUEST, _ASKED.pack(0, 0, 0, guid))


def durable_reconnect(guid: bytes, file: bytes) -> smb3structs.SMB2CreateContext:
    """Claims the handle ``file`` that was asked for as ``guid``."""
    return _context(_RECONNECT, _CLAIMED.pack(file, guid, 0))


def _context(name: bytes, data: bytes) -> smb3structs.SMB2CreateContext:
    context = smb3structs.SMB2CreateContext()
    context["NameOffset"], context["NameLength"] = _FIXED, len(name)
    context["DataOffset"], context["DataLength"] = _FIXED + _NAME, len(data)
    context["Buffer"] = name.ljust(_NAME, b"\0") + data
    return context
