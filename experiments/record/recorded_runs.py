"""Recorded runs that ship with the tests: real ones, small enough to keep.

They are for whoever wants to look at a run without making one: no root, no Open vSwitch.
"""

from __future__ import annotations

import gzip
from pathlib import Path

#: A folder for each; its files are compressed, and a slash of a name is a hyphen.
GOLDEN = Path(__file__).parents[2] / "tests" / "experiments" / "golden"
_FILES = ("spec.yaml", "record.json", "sockets.jsonl", "capture.pcapng")
_HOSTS = "hosts"


def recorded_names() -> list[str]:
    """Their names: shipped scenarios, and some policies. Empty without the tests' folder."""
    return sorted(path.parent.name for path in GOLDEN.glob("*/record.json.gz"))


def unpack_recorded(name: str, folder: Path) -> None:
    """Writes a recorded run into an existing folder, as it was before anything was judged.

    Raises :class:`LookupError` with the names that there are.
    """
    if name not in recorded_names():
        known = ", ".join(recorded_names()) or f"none, as {GOLDEN} is not there"
        raise LookupError(f"no recorded run {name!r}; there are: {known}")
    (folder / _HOSTS).mkdir()
    for path in (GOLDEN / name).glob("*.gz"):
        file = path.name.removesuffix(".gz")
        place = folder / file
        if file not in _FILES:
            place = folder / _HOSTS / file.removeprefix(f"{_HOSTS}-")
        place.write_bytes(gzip.decompress(path.read_bytes()))
