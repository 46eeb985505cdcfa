"""Any process of a run is killed at any time: nothing stays, and what can goes on.

``RESETBED_KILLS=200`` makes that many runs; each kill is a test, so some are chosen by
``-k``: ``k01`` the second ten, ``k017`` one of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.kills.ending_judge import faults_of
from tests.system.kills.kill_schedule import Kill, draw
from tests.system.kills.killed_run import kill_in_run

pytestmark = pytest.mark.live

SEED = 12
#: In the suite.
KILLS = 8


@pytest.mark.parametrize(
    "kill", draw(SEED, int(os.environ.get("RESETBED_KILLS", KILLS))), ids=str
)
def test_a_kill_anywhere(kill: Kill, tmp_path: Path) -> None:
    ending = kill_in_run(kill, tmp_path)
    print(f"{kill.delay_s:.3f} s into {kill.phase.name}: {ending}")
    assert faults_of(kill, ending) == []
