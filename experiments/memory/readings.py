"""What the kernel says of memory: parsed, and divided among connections; pure.

======== ======================================================================
server   memory of the server's processes; what several share is divided among
         them (``Pss`` of /proc/PID/smaps_rollup, proc(5))
objects  the kernel's objects of the whole machine (active ones of /proc/slabinfo):
         sockets, files, epoll entries, threads, the headers of queued data
stacks   kernel stacks and page tables of the server's processes
         (/proc/PID/status: ``Threads``, ``VmPTE``)
data     octets in the queues of sockets (Recv-Q and Send-Q of ss(8)): Linux keeps
         them in pages of their own (``sk_page_frag``)
======== ======================================================================
"""

from __future__ import annotations

import re
from dataclasses import asdict, astuple, dataclass

#: Caches that a connection and its thread use. Of others, most of all those of file
#: systems, the machine's other programs use more. Left out with them is a socket's dentry.
_OURS = re.compile(
    r"(TCP|request_sock|tw_sock|sock_inode|b?filp|ep_head|eventpoll|skbuff|kmalloc"
    r"|task_struct|vm_area|maple|anon_vma|lsm_file|pid$).*"
)
#: Octets of a thread's kernel stack (THREAD_SIZE of x86-64 and arm64).
_STACK = 16384


@dataclass(frozen=True)
class Reading:
    """Bytes, of all connections together or of one."""

    server: float
    objects: float
    stacks: float
    data: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(astuple(self)))

    def to_json(self) -> dict[str, float]:
        """All fields and their sum, rounded to bytes."""
        return {k: round(v) for k, v in {**asdict(self), "total": self.total}.items()}


def each(before: Reading, after: Reading, connections: int) -> Reading:
    """What one of so many connections added."""
    return Reading(
        *(
            (b - a) / connections
            for a, b in zip(astuple(before), astuple(after), strict=True)
        )
    )


def pss_bytes(smaps_rollup: str) -> int:
    """``Pss`` of /proc/PID/smaps_rollup; 0 of a process that has ended."""
    return _kib(smaps_rollup, "Pss")


def stack_bytes(status: str) -> int:
    """Kernel stacks and page tables of one process, of /proc/PID/status."""
    threads = re.search(r"^Threads:\s+(\d+)$", status, re.MULTILINE)
    if threads is None:
        return 0  # it has ended, and its parent has not asked yet
    return int(threads[1]) * _STACK + _kib(status, "VmPTE")


def object_bytes(slabinfo: str) -> int:
    """Active objects of the caches that count, of /proc/slabinfo (slabinfo(5))."""
    total = 0
    for line in slabinfo.splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        if _OURS.fullmatch(name):
            total += int(active) * int(size)
    return total


def data_bytes(listing: str) -> int:
    """Octets in the queues, of a listing by ``ss`` of one state and without a header."""
    return sum(sum(map(int, line.split()[:2])) for line in listing.splitlines())


def _kib(text: str, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
