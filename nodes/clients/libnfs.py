"""The calls of libnfs that an NFSv4 session uses, by ctypes."""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_char_p, c_int, c_uint32, c_uint64, c_void_p

#: include/nfsc/libnfs.h, ``enum nfs4_lock_op``.
TRY_LOCK, UNLOCK = 1, 2
#: The same, ``enum nfs4_fcntl_op``.
SET_LOCK = 0


class FileLock(ctypes.Structure):
    """The same, ``struct nfs4_flock``."""

    _fields_ = (
        ("l_type", c_int),
        ("l_whence", c_int),
        ("l_pid", c_uint32),
        ("l_start", c_uint64),
        ("l_len", c_uint64),
    )


#: status (negative: an errno), context, data of the call, private data of the caller.
NFS_CALLBACK = ctypes.CFUNCTYPE(None, c_int, c_void_p, c_void_p, c_void_p)
_END = (NFS_CALLBACK, c_void_p)

#: By soname: libnfs 4 and 5. libnfs 6 has other arguments.
_LIBRARIES = ("libnfs.so.13", "libnfs.so.14")

_PROTOTYPES = {
    "nfs_init_context": (c_void_p,),
    "nfs_destroy_context": (None, c_void_p),
    # sets the options that the URL has
    "nfs_parse_url_full": (c_void_p, c_void_p, c_char_p),
    "nfs_destroy_url": (None, c_void_p),
    "nfs4_set_client_name": (None, c_void_p, c_char_p),
    "nfs4_set_verifier": (None, c_void_p, c_char_p),
    "nfs_mount_async": (c_int, c_void_p, c_char_p, c_char_p, *_END),
    "nfs_get_fd": (c_int, c_void_p),
    "nfs_which_events": (c_int, c_void_p),
    "nfs_service": (c_int, c_void_p, c_int),
    "nfs_get_error": (c_char_p, c_void_p),
    "nfs_open_async": (c_int, c_void_p, c_char_p, c_int, *_END),
    # context, file, offset, count
    "nfs_pread_async": (c_int, c_void_p, c_void_p, c_uint64, c_uint64, *_END),
    "nfs_pwrite_async": (
        *(c_int, c_void_p, c_void_p, c_uint64, c_uint64, c_char_p, *_END),
    ),
    # context, file, operation, bytes from the file's position
    "nfs_lockf_async": (c_int, c_void_p, c_void_p, c_int, c_uint64, *_END),
    "nfs_fcntl_async": (c_int, c_void_p, c_void_p, c_int, c_void_p, *_END),
}


@functools.cache
def library() -> ctypes.CDLL:
    """libnfs 4 or 5, with prototypes. Raises ``OSError`` if it is missing."""
    loaded = _load()
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _load() -> ctypes.CDLL:
    missing = OSError("no libnfs")
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name, use_errno=True)
        except OSError as error:
            missing = error
    raise missing
