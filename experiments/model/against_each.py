"""The model held against every run of a sweep, and all of that in one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.files.whole_file import write_whole
from experiments.model.against import Agreement, agreement
from experiments.model.model_spec import ModelSpec
from experiments.results.run_folder import AGREEMENT, RunFolder
from experiments.verdict.trust import UNTRUSTED


@dataclass(frozen=True)
class RunAgreement:
    """A run, and the model beside it; ``refused``: why it is not computed, or None."""

    name: str
    scenario: str
    policy: str
    agreement: Agreement | None
    refused: str | None = None

    @property
    def holds(self) -> bool:
        """Whether all agrees. What the model does not compute says nothing against it."""
        return self.agreement is None or self.agreement.holds

    def to_json(self) -> dict[str, Any]:
        """One object."""
        found = self.agreement
        return {
            "run": self.name,
            "scenario": self.scenario,
            "policy": self.policy,
            "refused": self.refused,
            "agreement": None if found is None else found.to_json(),
        }


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs: of a sweep, or those directly in ``folder``, or it alone."""
    for where in (folder / "runs", folder):
        found = sorted(path.parent for path in where.glob("*/summary.json"))
        if found:
            return found
    return [folder] if (folder / "summary.json").exists() else []


def agree_each(folder: Path) -> Iterator[RunAgreement]:
    """Each run that can be trusted; its folder gets ``agreement.json``."""
    for path in runs_in(folder):
        run = RunFolder.read(path)
        if run.summary["outcome"] == UNTRUSTED:
            continue
        name, scenario, policy = path.name, run.spec.scenario, run.spec.policy
        try:
            spec = ModelSpec.model_validate(run.spec.model_dump())
        except ValueError as error:
            refused = str(error).splitlines()[-1].strip()
            yield RunAgreement(name, scenario, policy, None, refused)
            continue
        found = agreement(spec, run)
        text = json.dumps(found.to_json(), indent=1) + "\n"
        write_whole(path / AGREEMENT, text)
        yield RunAgreement(name, scenario, policy, found)


def agreements_table(found: Sequence[RunAgreement]) -> Table:
    """One row for each run: connections that differ, and figures out of their bounds."""
    agree = sum(one.holds and one.agreement is not None for one in found)
    table = Table(
        title=f"model and measurement: {agree} of {len(found)} runs agree",
        title_justify="left",
    )
    for name in ("scenario", "policy", "connections", "differ", "out of bounds"):
        table.add_column(name)
    for one in found:
        if one.agreement is None:
            table.add_row(one.scenario, one.policy, "–", "–", str(one.refused))
            continue
        wrong = [
            f"{line.key} {line.computed:g}, measured {line.measured:g}"
            for line in one.agreement.lines
            if not line.agrees and line.measured is not None
        ]
        differ = str(len(one.agreement.differ))
        row = (str(one.agreement.compared), differ, "; ".join(wrong) or "–")
        table.add_row(one.scenario, one.policy, *row)
    return table
