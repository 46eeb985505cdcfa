"""A switch's flow table with its counters, as the switch itself prints it."""

from __future__ import annotations

import math
import subprocess
import time

from experiments.cluster.errors import ClusterError
from topologies.switches import OVS_DIRECTORY

#: So long a run waits for a switch's flow table, in seconds: the switch may be busy, or be
#: started again meanwhile.
DUMP_TIMEOUT_S = 60.0
#: Between two questions to a switch that is being started, in seconds.
PAUSE_S = 0.1


def dump_flows(switch: str, timeout_s: float = DUMP_TIMEOUT_S) -> str:
    """The flow table of a switch of this sandbox, in the format of ovs-ofctl(8).

    Asks again while the switch cannot be reached. Raises
    :class:`~experiments.cluster.errors.ClusterError` if there is no answer within
    ``timeout_s``.
    """
    target = f"unix:{OVS_DIRECTORY}/{switch}/{switch}.mgmt"
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = max(1, math.ceil(deadline - time.monotonic()))
        done = subprocess.run(
            [
                *("ovs-ofctl", "-OOpenFlow14", f"--timeout={left_s}"),
                *("--names", "dump-flows", target),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        if time.monotonic() + PAUSE_S > deadline:
            raise ClusterError(
                f"switch {switch} did not print its flow table within {timeout_s:g} s: "
                f"{done.stderr.strip() or 'no answer'}"
            )
        time.sleep(PAUSE_S)
