"""One shard of a computation: ``python -m experiments.model.shard FOLDER``.

Standard input is a JSON value (:class:`Shard`). What is left in the folder is one file of
counts for each policy. A shard is every so-many-th batch of connections, so it depends on
nothing but the spec and its number: whichever machine computes it, the counts are the same.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.model.engine import part_of
from experiments.model.model_spec import ModelSpec
from experiments.model.routes import Routes
from experiments.model.tally_file import write_tally

#: The program of a shard.
PROGRAM = "experiments.model.shard"


@dataclass(frozen=True)
class Shard:
    """Shard ``number`` of ``of``, for each of these policies; ``spec``: as JSON."""

    spec: dict[str, Any]
    policies: list[str]
    number: int
    of: int

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return asdict(self)


def file_of(policy: str) -> str:
    """The file with a policy's counts."""
    return f"{policy}.npz"


def compute_shard(shard: Shard, folder: Path) -> None:
    """Writes the counts of each policy."""
    spec = ModelSpec.model_validate(shard.spec)
    changes = spec.changes()
    routes, population = Routes(changes), spec.population()
    folder.mkdir(parents=True, exist_ok=True)
    for policy in shard.policies:
        one = spec.model_copy(update={"policy": policy})
        computation = one.computation(changes, population)
        tally = part_of(computation, routes, (shard.number, shard.of))
        write_tally(tally, folder / file_of(policy))


def main(folder: str) -> int:
    """Computes the shard on standard input; the exit status."""
    compute_shard(Shard(**json.load(sys.stdin)), Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
