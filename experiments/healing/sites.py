"""The file with the sites of all nodes that have power, from the cluster to its healer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from topologies.domain.site import Site


def write_sites(path: Path, sites: Iterable[Site]) -> None:
    """Replaces the file atomically: a reader sees the old or the new."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(json.dumps([asdict(site) for site in sites]) + "\n")
    scratch.replace(path)


def read_sites(path: Path) -> list[Site]:
    """What :func:`write_sites` wrote."""
    return [Site(**site) for site in json.loads(path.read_text())]
