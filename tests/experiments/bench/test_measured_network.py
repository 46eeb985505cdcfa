"""The measurement of one network, which is a fake in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from experiments.bench import measure_in_sandbox
from experiments.bench.basis.figure import Setting, steps_of
from experiments.bench.basis.load import Load
from experiments.bench.basis.size import QUICK, Size
from experiments.bench.figures import FIGURES
from experiments.bench.networks import NETWORKS
from topologies.domain.plan import Plan

SETTING = Setting("ours", 2, 3, 1, "kernel")


@dataclass
class MadeUp:
    """A network that loses four frames with each figure."""

    opened: list[tuple[Plan, Path, str]] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=lambda: {"a": 1.5, "b": 2.0})
    did: list[str] = field(default_factory=list)
    lost: int = 0

    def __call__(self, plan: Plan, folder: Path, datapath: str) -> MadeUp:
        self.opened.append((plan, folder, datapath))
        return self

    def dropped(self) -> int:
        return self.lost

    def close(self) -> None:
        self.did.append("close")


def measure(network: MadeUp, size: Size) -> dict[str, Any]:
    network.did.append("measure")
    network.lost += 4
    return {"requests": size.requests}


def fail(_network: MadeUp, _size: Size) -> dict[str, Any]:
    raise ValueError("it broke")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUp]:
    made = MadeUp()
    monkeypatch.setattr(measure_in_sandbox, "SETTLE_S", 0)
    monkeypatch.setitem(NETWORKS, "ours", made)
    for name, how in (("bulk", measure), ("growth", measure), ("beyond", fail)):
        figure = replace(FIGURES[name], measures={"ours": how})
        monkeypatch.setitem(FIGURES, name, figure)
    before = os.umask(0o022)
    yield made
    os.umask(before)


def job(folder: Path, figures: Sequence[str]) -> str:
    return json.dumps(
        {
            "setting": asdict(SETTING),
            "size": QUICK.to_json(),
            "figures": list(figures),
            "folder": str(folder),
            "began_s": 0.0,
        }
    )


def done(folder: Path, *figures: str) -> tuple[int, dict[str, Any]]:
    status = measure_in_sandbox.main(job(folder, figures))
    return status, json.loads((folder / "found.json").read_text())


def test_a_network_is_brought_up_measured_and_stopped(
    network: MadeUp, tmp_path: Path
) -> None:
    status, found = done(tmp_path, "bulk", "growth")
    assert network.opened == [(SETTING.plan, tmp_path, "kernel")]
    assert network.did == ["measure", "measure", "close"]
    assert status == 0
    assert list(found["figures"]) == ["bulk", "growth"]
    assert found["figures"]["bulk"]["found"] == {"requests": QUICK.requests}
    assert found["up"]["steps"] == {"a": 1.5, "b": 2.0}
    assert found["up"]["down"] >= 0


def test_each_figure_has_its_own_load_and_port_drops(
    network: MadeUp, tmp_path: Path
) -> None:
    _, found = done(tmp_path, "bulk", "growth")
    for one in found["figures"].values():
        load = dict(one["load"])
        assert load.pop("port_drops") == 4
        assert set(load) == set(Load.__dataclass_fields__)


def test_a_failed_figure_has_its_error_and_the_next_is_measured(
    network: MadeUp, tmp_path: Path
) -> None:
    status, found = done(tmp_path, "beyond", "bulk")
    assert status == 1
    assert list(found["figures"]["beyond"]) == ["error"]
    assert "ValueError: it broke" in found["figures"]["beyond"]["error"]
    assert "found" in found["figures"]["bulk"]
    assert network.did == ["measure", "close"]


def test_the_file_gets_its_name_when_it_is_complete(
    network: MadeUp, tmp_path: Path
) -> None:
    done(tmp_path, "bulk")
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_a_bring_up_is_the_sum_of_its_steps() -> None:
    made: Any = MadeUp()
    assert steps_of(made, QUICK) == {"seconds": 3.5, "steps": {"a": 1.5, "b": 2.0}}
