"""What the kernel says of its own tracepoints: their ids and the layout of their records.

Only files of tracefs are read; nothing is switched on there. The layouts differ between
kernels, so a record is never read by fixed offsets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FIELD = re.compile(
    r"\tfield:(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);"
    r"\s*size:(?P<size>\d+);\s*signed:(?P<signed>[01]);"
)
_NAME = re.compile(r"(\w+)(?:\[\w*\])?$")


@dataclass(frozen=True)
class Field:
    """One field of a record: where it lies, in bytes."""

    offset: int
    size: int
    signed: bool

    def bytes_of(self, record: bytes) -> bytes:
        """The field as it stands in the record."""
        return record[self.offset : self.offset + self.size]

    def number_of(self, record: bytes, byte_order: str = "little") -> int:
        """The field as a number."""
        return int.from_bytes(
            self.bytes_of(record),
            "little" if byte_order == "little" else "big",
            signed=self.signed,
        )


@dataclass(frozen=True)
class Tracepoint:
    """A tracepoint of the running kernel: ``name`` is e.g. ``tcp:tcp_send_reset``."""

    name: str
    id: int
    fields: Mapping[str, Field]

    @classmethod
    def load(cls, tracefs: Path, name: str) -> Tracepoint:
        """Reads it below a mounted tracefs. Raises :class:`OSError`: there is none."""
        folder = tracefs / "events" / name.replace(":", "/")
        return cls(
            name,
            int((folder / "id").read_text()),
            parse_format((folder / "format").read_text()),
        )


def parse_format(text: str) -> dict[str, Field]:
    """The fields that a ``format`` file of tracefs describes, by name."""
    fields = {}
    for match in _FIELD.finditer(text):
        name = _NAME.search(match["declaration"])
        if name:
            fields[name[1]] = Field(
                int(match["offset"]), int(match["size"]), match["signed"] == "1"
            )
    return fields
