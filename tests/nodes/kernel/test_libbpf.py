"""What the kernel tells of a program, and what an older one does not."""

from __future__ import annotations

import tempfile

import pytest

from nodes.kernel.libbpf import BpfError, BpfObject


class OfAFile(BpfObject):
    """Its program is a file, of which the kernel tells less."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def program_descriptor(self, _name: str) -> int:
        """The file's."""
        return self._descriptor


def test_a_kernel_that_counts_no_misses_has_none() -> None:
    with tempfile.TemporaryFile() as file:
        assert OfAFile(file.fileno()).program_misses("any") == 0


def test_a_program_without_an_id_is_none() -> None:
    with (
        tempfile.TemporaryFile() as file,
        pytest.raises(BpfError, match="no program id of BPF program any"),
    ):
        OfAFile(file.fileno()).program_id("any")
