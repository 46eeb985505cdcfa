"""Brings one network of the benchmark up inside its sandbox, measures, and stops it.

``python -m experiments.bench.measure_in_sandbox JOB``. The job is JSON: ``setting`` and
``size`` (objects), ``figures`` (names), ``folder``, ``began_s`` (CLOCK_MONOTONIC, the start
of the job). The results are written to ``folder/found.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.bench.basis.figure import Setting
from experiments.bench.basis.load import LoadMeter
from experiments.bench.basis.size import Size
from experiments.bench.figures import FIGURES
from experiments.bench.networks import NETWORKS, Network
from topologies.private import UMASK

#: Pause before each measurement, in seconds, until the effects of the last one are over.
SETTLE_S = 0.5


def main(text: str) -> int:
    """Do the job. Returns 1 if a part of it failed; the file says which."""
    job = json.loads(text)
    os.umask(UMASK)
    setting, size = Setting(**job["setting"]), Size.from_json(job["size"])
    folder = Path(job["folder"])
    began = time.monotonic()
    with LoadMeter() as meter:
        network = NETWORKS[setting.kind](setting.plan, folder, setting.datapath)
    up = {
        "sandbox": began - job["began_s"],
        "load": meter.load.to_json(),
        "steps": dict(network.steps),
    }
    found = _measure_all(network, setting, size, job["figures"])
    closing = time.monotonic()
    network.close()
    up["down"] = time.monotonic() - closing
    _write(folder / "found.json", {"up": up, "figures": found})
    return int(any("error" in one for one in found.values()))


def _measure_all(
    network: Network, setting: Setting, size: Size, names: Sequence[str]
) -> dict[str, Any]:
    """Figure -> its results and the load meanwhile, or its error."""
    found: dict[str, Any] = {}
    for name in names:
        time.sleep(SETTLE_S)
        print(f"{setting.name}: {name}", file=sys.stderr, flush=True)
        dropped = network.dropped()
        try:
            with LoadMeter() as meter:
                result = FIGURES[name].measures[setting.kind](network, size)
        except Exception:
            found[name] = {"error": traceback.format_exc()}
            continue
        load = {**meter.load.to_json(), "port_drops": network.dropped() - dropped}
        found[name] = {"found": result, "load": load}
    return found


def _write(path: Path, data: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(data))
    os.replace(fresh, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
