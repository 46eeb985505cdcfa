"""Guards that are mutated on purpose: each has one check less, or a wrong one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from nodes.guard.guard_ebpf import SOURCE
from nodes.guard.verdict_header import HEADER, verdict_header
from nodes.kernel.bpf_build import compile_program


class Mutation(NamedTuple):
    """In ``file``, ``new`` is in place of each ``old``."""

    name: str
    file: str
    old: str
    new: str


_PROGRAM, _PACKET, _MAPS = "guard.bpf.c", "guard_packet.bpf.h", "guard_maps.bpf.h"
_MISFITS = "if (fit == MISFITS)"
_RELAYED = "fit_of_relayed(p, &numbers) == MISFITS"
_SUM = "bpf_l4_csum_replace(skb, checksum, before, after, sizeof(after));"

#: Compilers see a variable that is not used: conditions stay, and never hold.
MUTATIONS = (
    Mutation("no sequence check", _PROGRAM, _MISFITS, "if (fit == MISFITS && false)"),
    Mutation("slack off by one", _PROGRAM, "<= SEQUENCE_SLACK", "< SEQUENCE_SLACK"),
    Mutation("aborts are forgotten", _PROGRAM, "recent == ABORTED || ", ""),
    Mutation("no mark", _PROGRAM, "marked = same(", "marked = false && same("),
    Mutation("inexact relays", _PROGRAM, _RELAYED, f"{_RELAYED} && false"),
    Mutation("no budget", _PROGRAM, "if (!spend(p, config, 1))", "if (false)"),
    Mutation(
        "passed on for ever", _PROGRAM, "redirected && ", "redirected && false && "
    ),
    Mutation("IPv4 options", _PACKET, "ip->ihl != 5", "ip->ihl < 5"),
    Mutation(
        "checksum of the old numbers", _PROGRAM, _SUM, "(void)checksum, (void)before;"
    ),
    Mutation(
        "entries never expire", _MAPS, "*until_ns > bpf_ktime_get_ns()", "*until_ns"
    ),
)
_BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}


def compile_mutated(name: str) -> Path:
    """The object file of the guard with that mutation."""
    mutation = _BY_NAME[name]
    folder = Path(tempfile.mkdtemp(prefix="mutated-"))
    for source in SOURCE.parent.glob("*.bpf.[ch]"):
        shutil.copy(source, folder)
    mutated = folder / mutation.file
    text = mutated.read_text()
    assert mutation.old in text, f"{mutation.name}: there is no such place any more"
    mutated.write_text(text.replace(mutation.old, mutation.new))
    headers = {HEADER: verdict_header()}
    return compile_program(folder / SOURCE.name, headers, folder / "build")
