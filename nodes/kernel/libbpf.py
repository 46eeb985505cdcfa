"""The calls of libbpf that load a program and read its maps, by ctypes.

``iproute2`` depends on the library, so nothing else needs to be installed. Every function
raises :class:`BpfError` if libbpf reports an error. libbpf itself writes the details (the
verifier's log) to standard error.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
from collections.abc import Mapping
from pathlib import Path

_MAX_ERRNO = 4095
#: bpf(2), BPF_ANY: make the element or replace it.
_BPF_ANY = 0


class BpfError(RuntimeError):
    """The kernel, libbpf or the compiler refused a BPF program. The text says why."""


class BpfMap:
    """A map of a loaded object: keys and values are bytes of the declared sizes."""

    def __init__(self, library: ctypes.CDLL, descriptor: int, value_size: int) -> None:
        self._library = library
        self._descriptor = descriptor
        self._value_size = value_size

    def get(self, key: bytes) -> bytes:
        """The value under ``key``. Raises :class:`KeyError` if there is none."""
        value = ctypes.create_string_buffer(self._value_size)
        if self._library.bpf_map_lookup_elem(self._descriptor, key, value):
            raise KeyError(key)
        return value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Put ``value`` under ``key``."""
        if len(value) != self._value_size:
            raise ValueError(f"a value has {self._value_size} bytes, not {len(value)}")
        failed = self._library.bpf_map_update_elem(
            self._descriptor, key, value, ctypes.c_uint64(_BPF_ANY)
        )
        if failed:
            raise BpfError(f"BPF map update: {os.strerror(ctypes.get_errno())}")

    def delete(self, key: bytes) -> None:
        """Remove ``key``, if it exists."""
        self._library.bpf_map_delete_elem(self._descriptor, key)


class BpfObject:
    """A loaded object file: its programs are verified, its maps are created.

    Programs and maps exist while this object is open, and longer if they are pinned or
    attached.
    """

    def __init__(
        self, path: Path, max_entries: Mapping[str, int] | None = None
    ) -> None:
        """``max_entries``: the sizes of maps, by name, instead of those in the file."""
        self._library = _load_library()
        self._handle = self._open(path)
        for name, entries in (max_entries or {}).items():
            self._resize(name, entries)
        failed = self._library.bpf_object__load(self._handle)
        if failed:
            self.close()
            raise BpfError(f"{path.name}: not loaded: {os.strerror(-failed)}")

    def map(self, name: str, value_size: int) -> BpfMap:
        """The map of that name, whose values have ``value_size`` bytes."""
        return BpfMap(self._library, self.map_descriptor(name), value_size)

    def map_descriptor(self, name: str) -> int:
        """The file descriptor of the map of that name. The caller must not close it."""
        descriptor: int = self._library.bpf_object__find_map_fd_by_name(
            self._handle, name.encode()
        )
        if descriptor < 0:
            raise BpfError(f"no BPF map {name}: {os.strerror(-descriptor)}")
        return descriptor

    def attach(self, name: str) -> None:
        """Attach the program of that name as its section says, e.g. to a tracepoint.

        It stays attached while this process lives. The kernel detaches it when the
        link's descriptor is closed.
        """
        link = self._library.bpf_program__attach(self._program(name))
        code = _error_in(link)
        if code:
            raise BpfError(f"{name}: not attached: {os.strerror(code)}")

    def program_descriptor(self, name: str) -> int:
        """The file descriptor of that program. The caller must not close it."""
        descriptor: int = self._library.bpf_program__fd(self._program(name))
        return descriptor

    def program_id(self, name: str) -> int:
        """The kernel's id of the program of that name, as ``tc`` and bpftool show it."""
        found = self._told(name, "prog_id")
        if found is None:
            raise BpfError(f"no program id of BPF program {name} in fdinfo")
        return found

    def program_misses(self, name: str) -> int:
        """How often that program was not run, since it was running on that processor.

        The kernel counts it for programs of tracepoints (``bpf_trace_run``). One that does
        not count it (before Linux 5.12) runs such a program within itself: 0.
        """
        return self._told(name, "recursion_misses") or 0

    def _told(self, name: str, key: str) -> int | None:
        """A number that the kernel tells of the program of that name; None: it does not."""
        descriptor = self.program_descriptor(name)
        for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
            found, _, value = line.partition(":")
            if found == key:
                return int(value)
        return None

    def pin(self, directory: Path) -> None:
        """Pin every map and program as ``directory/NAME``, in a BPF filesystem."""
        for pin in ("bpf_object__pin_maps", "bpf_object__pin_programs"):
            failed = getattr(self._library, pin)(self._handle, os.fsencode(directory))
            if failed:
                why = os.strerror(-failed)
                raise BpfError(f"cannot pin BPF objects in {directory}: {why}")

    def close(self) -> None:
        """Close programs and maps. May be called again."""
        handle, self._handle = self._handle, None
        if handle:
            self._library.bpf_object__close(handle)

    def _resize(self, name: str, entries: int) -> None:
        found: int | None = self._library.bpf_object__find_map_by_name(
            self._handle, name.encode()
        )
        if not found:
            raise BpfError(f"no BPF map {name}")
        failed = self._library.bpf_map__set_max_entries(found, entries)
        if failed:
            raise BpfError(f"BPF map {name}: {os.strerror(-failed)}")

    def _program(self, name: str) -> ctypes.c_void_p:
        """libbpf's handle of the program of that name."""
        program: int | None = self._library.bpf_object__find_program_by_name(
            self._handle, name.encode()
        )
        if not program:
            raise BpfError(f"no BPF program {name}")
        return ctypes.c_void_p(program)

    def _open(self, path: Path) -> int | None:
        handle: int | None = self._library.bpf_object__open(os.fsencode(path))
        if code := _error_in(handle):
            raise BpfError(f"{path}: not a BPF object: {os.strerror(code)}")
        return handle


def _error_in(pointer: int | None) -> int:
    """The error number of a returned pointer; 0 if the pointer is valid.

    libbpf 1.x returns NULL and sets errno. 0.x returns an error number as a pointer.
    """
    if not pointer:
        return ctypes.get_errno() or errno.EINVAL
    disguised = ctypes.c_long(pointer).value
    return -disguised if -_MAX_ERRNO <= disguised < 0 else 0


def _load_library() -> ctypes.CDLL:
    name = ctypes.util.find_library("bpf")
    if name is None:
        raise BpfError("libbpf is not installed (it comes with iproute2)")
    library = ctypes.CDLL(name, use_errno=True)
    pointer = ctypes.c_void_p
    library.bpf_object__open.restype = pointer
    library.bpf_object__load.argtypes = [pointer]
    library.bpf_object__close.argtypes = [pointer]
    library.bpf_object__close.restype = None
    library.bpf_object__pin_maps.argtypes = [pointer, ctypes.c_char_p]
    library.bpf_object__pin_programs.argtypes = [pointer, ctypes.c_char_p]
    library.bpf_object__find_program_by_name.argtypes = [pointer, ctypes.c_char_p]
    library.bpf_object__find_program_by_name.restype = pointer
    library.bpf_object__find_map_by_name.argtypes = [pointer, ctypes.c_char_p]
    library.bpf_object__find_map_by_name.restype = pointer
    library.bpf_map__set_max_entries.argtypes = [pointer, ctypes.c_uint32]
    library.bpf_program__attach.argtypes = [pointer]
    library.bpf_program__attach.restype = pointer
    library.bpf_program__fd.argtypes = [pointer]
    library.bpf_object__find_map_fd_by_name.argtypes = [pointer, ctypes.c_char_p]
    return library
