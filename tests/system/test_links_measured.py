"""Measured effects of links on frames, compared with their options.

Each host's end of its link is measured by itself, a client's and a node's: frames are
counted and timed at the switch's end. The bounds follow from how the kernel works, not
from how fast this machine is; each says from what.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments.commands.cli_options import EXIT_UNMET_REQUIREMENT
from experiments.doctor import kernel_probes
from experiments.machine.machine import State
from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import Background, eventually, must, resetbed
from tests.topologies.link_probe import binomial_bounds, send
from topologies.domain.plan import VIP4, VIP6, Client, Node, Plan
from topologies.shaping import burst_octets

pytestmark = pytest.mark.live

SMALL = ("--chassis", "1", "--nodes", "1", "--clients", "1", "--workload", "echo")
PLAN = Plan.build(chassis=1, nodes=1, clients=1)
HOSTS: list[Client | Node] = [PLAN.clients[0], PLAN.chassis[0].nodes[0]]
NAMES = [host.name for host in HOSTS]

RATE_MBIT, DELAY_MS, LOSS_PERCENT = 4.0, 40.0, 2.0
FULL_FRAME, SMALL_FRAME = 1514, 64
#: Enough for a loss of 2% to be known to a quarter of it, give or take.
FRAMES = 20_000
FULL_FRAMES = 1_600
#: One tick of the kernels' clocks (CONFIG_HZ=250): a timer that fires at once may be
#: noticed by then at the latest, whatever the timers' own resolution.
TICK_MS = 4.0
#: By chance the loss is outside of five standard deviations once in 1.7 million times.
DEVIATIONS = 5.0


@pytest.fixture(scope="module")
def limited() -> Iterator[Background]:
    cluster = Background.up("limited", *SMALL, "--rate-mbit", str(RATE_MBIT))
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def disturbed() -> Iterator[Background]:
    """All three options at once: tbf is within netem then."""
    options = ("--rate-mbit", RATE_MBIT, "--delay-ms", DELAY_MS)
    words = map(str, (*options, "--loss-percent", LOSS_PERCENT))
    cluster = Background.up("disturbed", *SMALL, *words)
    yield cluster
    cluster.down()


def assert_rate(
    run: str, host: Client | Node, pace_mbit: float | None = None, delay_ms: float = 0.0
) -> None:
    """A token bucket lets pass rate x time and what was in it, never more (tc-tbf(8)).

    It is full when the first frame comes to it, no earlier than the delay. It holds 30 ms
    of this rate: as long as timers are later by less, nothing is lost of the rate; and a
    twentieth is left for the last frames' waiting. A machine that stands still for longer
    in one measurement does not in all of them.
    """

    def passes_its_rate() -> bool:
        seen = send(run, host, FULL_FRAMES, FULL_FRAME, pace_mbit)
        assert pace_mbit or seen.lost == 0
        may_pass = RATE_MBIT * 1e6 * (seen.seconds() - delay_ms / 1e3)
        assert seen.bits() <= may_pass + burst_octets(RATE_MBIT) * 8
        return seen.bits() >= may_pass * 0.95

    eventually("95% of its rate", passes_its_rate, deadline_s=120)


@pytest.mark.parametrize("host", HOSTS, ids=NAMES)
def test_a_link_passes_its_rate_and_not_more(
    limited: Background, host: Client | Node
) -> None:
    assert_rate(limited.name, host)


@pytest.mark.parametrize("host", HOSTS, ids=NAMES)
def test_a_running_hosts_link_recovers_and_gets_worse_again(
    limited: Background, host: Client | Node
) -> None:
    """Without a limit the same frames pass faster than the limit has it."""
    change = ("link", "--name", limited.name, host.name)
    must(resetbed(*change))
    seen = send(limited.name, host, FULL_FRAMES, FULL_FRAME, None)
    allowed = RATE_MBIT * 1e6 * seen.seconds() + burst_octets(RATE_MBIT) * 8
    assert seen.bits() > 2 * allowed
    must(resetbed(*change, "--rate-mbit", str(RATE_MBIT)))
    assert_rate(limited.name, host)


def test_what_the_kernel_cannot_do_is_refused_and_changes_nothing(
    limited: Background,
) -> None:
    before = limited.status()["nodes"]["c1n1"]["link"]
    assert before["rate_mbit"] == RATE_MBIT
    netem = kernel_probes.probe_some(["sch_netem"])["sch_netem"]
    done = resetbed("link", "--name", limited.name, "c1n1", "--delay-ms", "5")
    after = limited.status()["nodes"]["c1n1"]["link"]
    if netem.state is State.MISSING:
        assert (done.returncode, after) == (EXIT_UNMET_REQUIREMENT, before)
        assert "sch_netem" in done.stderr
    else:
        assert (done.returncode, after["delay_ms"]) == (0, 5)
    assert resetbed("link", "--name", limited.name, "c9n9").returncode == 2


@pytest.mark.kernel
@pytest.mark.stock("sch_netem")
@pytest.mark.parametrize("host", HOSTS, ids=NAMES)
def test_delay_loss_and_rate_are_as_configured(
    disturbed: Background, host: Client | Node
) -> None:
    """One way: never early, the earliest within a tick; lost as often as by chance."""

    def delays_and_loses() -> bool:
        seen = send(disturbed.name, host, FRAMES, SMALL_FRAME, pace_mbit=RATE_MBIT / 4)
        bounds = binomial_bounds(seen.sent, LOSS_PERCENT / 100, DEVIATIONS)
        earliest_ms = min(seen.delays_ms())
        assert earliest_ms >= DELAY_MS
        assert seen.lost >= bounds.start
        return earliest_ms <= DELAY_MS + TICK_MS and seen.lost < bounds.stop

    # A machine that pauses is late, and the queue overflows. It does not pause each time.
    eventually("the delay and the loss", delays_and_loses, deadline_s=150)
    # Far more than it passes, also where the sender is late; the rest is dropped.
    assert_rate(disturbed.name, host, RATE_MBIT * 4, DELAY_MS)


@pytest.mark.kernel
@pytest.mark.stock("sch_netem")
@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_round_trip_takes_the_delay_twice(disturbed: Background, vip: str) -> None:
    """The delay counts twice: the fastest of many, on an open connection."""
    code = f"""
import socket, time
s = socket.create_connection(("{vip}", {ECHO_PORT}))
def trip():
    begin = time.monotonic()
    s.sendall(b"ping")
    assert s.recv(4) == b"ping"
    return time.monotonic() - begin
print(min(trip() for _ in range(20)) * 1e3)
"""
    trip_ms = float(disturbed.python("h1", code))
    assert 2 * DELAY_MS <= trip_ms < 3 * DELAY_MS
