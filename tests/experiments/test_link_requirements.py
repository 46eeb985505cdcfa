"""What shaped links need of the kernel: found or refused, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from experiments.commands.cli import main
from experiments.doctor import kernel_probes, link_requirements
from experiments.doctor.doctor import CHECKS
from experiments.doctor.link_requirements import missing_reasons, probe_of, require
from experiments.machine.machine import Finding, State, missing, present, unknown
from experiments.machine.requirements import RequirementMissing
from topologies import sandbox
from topologies.domain.link_options import LinkOptions
from topologies.shaping import required_qdiscs

ALL = LinkOptions(rate_mbit=10, delay_ms=5, loss_percent=1)
ABSENT = missing("tc: Error: Specified qdisc kind is unknown.")


@pytest.fixture
def no_netem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without netem, and a launcher that must not be reached."""

    def found(_kinds: tuple[str, ...]) -> dict[str, Finding]:
        return {"sch_netem": ABSENT, "sch_tbf": present("tried")}

    def entered(*_args: Any, **_kwargs: Any) -> int:
        pytest.fail("a sandbox was entered")

    monkeypatch.setattr(link_requirements, "_found", found)
    monkeypatch.setattr(sandbox, "enter", entered)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def test_every_discipline_is_tried_and_examined() -> None:
    names = {probe_of(kind) for kind in required_qdiscs(ALL)}
    assert names <= kernel_probes.PROBES.keys()
    assert names <= {check.name for check in CHECKS}


def test_a_missing_discipline_is_reported_with_its_options_and_remedy() -> None:
    (message,) = missing_reasons(
        ALL, {"sch_netem": ABSENT, "sch_tbf": present("tried")}
    )
    for part in ("delay_ms and loss_percent", "sch_netem", "kind is unknown", "Ubuntu"):
        assert part in message
    assert "rate_mbit" not in message


@pytest.mark.parametrize("finding", [present("tried"), unknown("not root")])
def test_a_present_or_unknown_discipline_is_not_missing(finding: Finding) -> None:
    assert not [*missing_reasons(ALL, {"sch_netem": finding, "sch_tbf": finding})]


def test_unshaped_links_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        link_requirements, "_found", lambda _kinds: pytest.fail("tried")
    )
    require(LinkOptions())


@pytest.mark.usefixtures("no_netem")
def test_a_run_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = command("run", "drain-node", "--set", "links.delay_ms=5", "--out", str(out))
    assert done.exit_code == 3
    assert "sch_netem" in done.output
    assert not out.exists()


@pytest.mark.usefixtures("no_netem")
@pytest.mark.parametrize("which", ["up", "console"])
def test_a_cluster_is_refused_before_it_is_built(which: str) -> None:
    done = command(which, "--name", "no-such", "--loss-percent", "1")
    assert done.exit_code == 3
    assert "links: loss_percent: needs the queueing discipline netem" in done.output


@pytest.mark.usefixtures("no_netem")
def test_a_sweep_is_refused_before_its_first_run(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("factors: {policy: [drop], links.delay_ms: [0, 5]}\n")
    done = command("sweep", str(suite), "--out", str(tmp_path / "out"))
    assert done.exit_code == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate-mbit", "0"), "rate_mbit: must be above 0"),
        (("--loss-percent", "100"), "loss_percent: must be below 100"),
        (("--weight", "c1n2=2"), "'modulo' takes no weights"),
        (("--weight", "h1=2", "--balancer", "rendezvous"), "expected NAME=W"),
        (("--weight", "c1=0", "--balancer", "rendezvous"), "expected NAME=W"),
        (("--weight", "c1", "--balancer", "rendezvous"), "expected NAME=W"),
    ],
    ids=["rate", "loss", "balancer", "name", "nothing", "no weight"],
)
def test_bad_options_are_bad_input(words: tuple[str, ...], message: str) -> None:
    done = command("up", "--name", "no-such", *words)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.live
def test_the_trials_of_this_kernel_decide() -> None:
    """On any kernel, exactly what a trial finds missing is refused."""
    tried = kernel_probes.probe_some(["sch_netem", "sch_tbf"])
    assert set(tried) == {"sch_netem", "sch_tbf"}
    for options in (LinkOptions(delay_ms=1), LinkOptions(rate_mbit=1)):
        (kind,) = required_qdiscs(options)
        if tried[probe_of(kind)].state is State.MISSING:
            with pytest.raises(RequirementMissing, match=probe_of(kind)):
                require(options)
        else:
            require(options)
