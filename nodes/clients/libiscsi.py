"""The calls of libiscsi that an iSCSI session uses, by ctypes."""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_char_p, c_int, c_uint32, c_uint64, c_void_p

#: include/scsi-lowlevel.h, ``enum scsi_status``.
STATUS_GOOD = 0
STATUS_CHECK_CONDITION = 2
STATUS_RESERVATION_CONFLICT = 0x18
STATUS_CANCELLED = 0x0F000000
STATUS_ERROR = 0x0F000001
#: include/iscsi.h, ``enum iscsi_session_type``.
SESSION_NORMAL = 2

#: context, status, data of the command, private data of the caller.
COMMAND_CALLBACK = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p)

#: Result and first arguments of a command that has nothing but a unit.
_ON_UNIT = (c_void_p, c_void_p, c_int)

_PROTOTYPES = {
    "iscsi_create_context": (c_void_p, c_char_p),
    "iscsi_destroy_context": (c_int, c_void_p),
    "iscsi_set_targetname": (c_int, c_void_p, c_char_p),
    "iscsi_set_alias": (c_int, c_void_p, c_char_p),
    "iscsi_set_isid_random": (c_int, c_void_p, c_uint32, c_uint32),
    "iscsi_set_session_type": (c_int, c_void_p, c_int),
    "iscsi_set_noautoreconnect": (None, c_void_p, c_int),
    "iscsi_full_connect_async": (
        *(c_int, c_void_p, c_char_p, c_int),
        *(COMMAND_CALLBACK, c_void_p),
    ),
    "iscsi_logout_async": (c_int, c_void_p, COMMAND_CALLBACK, c_void_p),
    "iscsi_get_fd": (c_int, c_void_p),
    "iscsi_which_events": (c_int, c_void_p),
    "iscsi_service": (c_int, c_void_p, c_int),
    "iscsi_get_error": (c_char_p, c_void_p),
    "iscsi_readcapacity16_task": (
        *(c_void_p, c_void_p, c_int),
        *(COMMAND_CALLBACK, c_void_p),
    ),
    # context, LUN, first block, bytes, block size, rdprotect, DPO, FUA, FUA_NV, group
    "iscsi_read16_task": (
        *(c_void_p, c_void_p, c_int, c_uint64, c_uint32),
        *(c_int, c_int, c_int, c_int, c_int, c_int),
        *(COMMAND_CALLBACK, c_void_p),
    ),
    # the same, with the data before their length
    "iscsi_write16_task": (
        *(c_void_p, c_void_p, c_int, c_uint64, c_char_p, c_uint32),
        *(c_int, c_int, c_int, c_int, c_int, c_int),
        *(COMMAND_CALLBACK, c_void_p),
    ),
    # context, LUN
    "iscsi_testunitready_task": (*_ON_UNIT, COMMAND_CALLBACK, c_void_p),
    "iscsi_reserve6_task": (*_ON_UNIT, COMMAND_CALLBACK, c_void_p),
    "iscsi_release6_task": (*_ON_UNIT, COMMAND_CALLBACK, c_void_p),
    "iscsi_task_mgmt_lun_reset_async": (
        *(c_int, c_void_p, c_uint32),
        *(COMMAND_CALLBACK, c_void_p),
    ),
    "scsi_task_add_data_in_buffer": (c_int, c_void_p, c_int, c_void_p),
    "scsi_free_scsi_task": (None, c_void_p),
}


@functools.cache
def library() -> ctypes.CDLL:
    """libiscsi 1.19 or newer, with prototypes. Raises ``OSError`` if it is missing."""
    loaded = ctypes.CDLL("libiscsi.so.7", use_errno=True)
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
