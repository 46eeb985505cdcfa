"""Results of doctor from invented findings; and its trials on the real machine."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.doctor import doctor, kernel_probes
from experiments.doctor.doctor import CHECKS, Check, Importance
from experiments.machine import machine
from experiments.machine.machine import Finding, State, missing, present, unknown

HERE = present("as found")
GONE = missing("not found")
HIDDEN = unknown("not seen")
WHOLE = {check.name: HERE for check in CHECKS}


def test_a_machine_that_has_everything_can_run() -> None:
    results = doctor.diagnose(WHOLE)
    assert [result.check for result in results] == list(CHECKS)
    assert not any(result.fatal or result.blocks_suite for result in results)
    assert doctor.exit_status(results) == 0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_missing_requirement_is_fatal_only_if_everything_needs_it(
    check: Check,
) -> None:
    results = doctor.diagnose({**WHOLE, check.name: GONE})
    fatal = check.importance is Importance.EVERYTHING and check.instead is None
    assert doctor.exit_status(results) == (doctor.CANNOT_RUN if fatal else 0)
    blocked = [result.check.name for result in results if result.blocks_suite]
    assert blocked == (
        [check.name] if fatal or check.importance is Importance.SUITE else []
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_an_unknown_requirement_is_not_fatal(check: Check) -> None:
    results = doctor.diagnose({**WHOLE, check.name: HIDDEN})
    assert doctor.exit_status(results) == 0
    assert not any(result.blocks_suite for result in results)


@pytest.mark.parametrize(
    ("userspace", "kernel", "fatal"),
    [
        pytest.param(HERE, GONE, False, id="userspace only"),
        pytest.param(GONE, HERE, False, id="kernel only"),
        pytest.param(GONE, GONE, True, id="neither"),
        pytest.param(GONE, HIDDEN, True, id="no userspace, kernel unseen"),
    ],
)
def test_one_datapath_is_enough(
    userspace: Finding, kernel: Finding, fatal: bool
) -> None:
    found = {**WHOLE, "userspace datapath": userspace, "kernel datapath": kernel}
    assert any(result.fatal for result in doctor.diagnose(found)) is fatal


def test_every_check_tells_the_effect_of_a_missing_requirement() -> None:
    assert all(check.cost for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_every_trial_is_a_check() -> None:
    assert set(kernel_probes.PROBES) <= {check.name for check in CHECKS}


def test_python_packages_come_from_the_one_list() -> None:
    assert {"click", "os-ken", "scapy"} <= set(machine.required_packages())


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("ovs-vswitchd (Open vSwitch) 3.1.0\nDPDK", "3.1.0"),
        ("ss utility, iproute2-6.1.0, libbpf 1.1.2", "6.1.0"),
        ("Debian clang version 14.0.6", "14.0.6"),
        ("nftables v1.0.6 (Lester Gooch #5)", "1.0.6"),
        ("command not understood", None),
    ],
)
def test_versions_are_parsed_from_the_tools_output(
    words: str, version: str | None
) -> None:
    assert machine.version_in(words) == version


def test_a_tool_that_is_not_installed_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(machine.TOOLS, "no-such-tool", ("--version",))
    assert machine.tool("no-such-tool").state is State.MISSING


def test_report_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.run_doctor(as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["can_run"] is (status == 0)
    assert [check["name"] for check in shown["checks"]] == [c.name for c in CHECKS]


def test_report_for_people_names_every_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    doctor.run_doctor()
    shown = capsys.readouterr().out
    assert not [check.name for check in CHECKS if check.name not in shown]


def test_without_root_the_kernel_stays_unknown() -> None:
    with _as_nobody():
        found = kernel_probes.probe_all().values()
    assert {finding.state for finding in found} == {State.UNKNOWN}


@contextmanager
def _as_nobody() -> Iterator[None]:
    """The effective user is nobody during the test; without root it does not change."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.mark.live
def test_trials_work_here_and_leave_nothing_behind() -> None:
    found = kernel_probes.probe_all()
    assert set(found) == set(kernel_probes.PROBES)
    assert found["userspace datapath"].state is State.PRESENT
    assert "trial" not in Path("/proc/self/mountinfo").read_text()
    assert not [name for name in os.listdir("/sys/class/net") if "trial" in name]
    assert not [each for each in _command_lines() if b"trial" in each]


def _command_lines() -> list[bytes]:
    """Of every process but this one and its parents (whose arguments name the tests)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if b"pytest" not in line]


def test_a_checkout_among_temporary_files_is_not_hidden_from_its_probes() -> None:
    usual = Path(tempfile.gettempdir())
    assert kernel_probes.scratch_folder(Path("/opt/resetbed")) == usual
    for checkout in (usual / "resetbed", usual):
        found = kernel_probes.scratch_folder(checkout)
        assert found.is_dir()
        assert found not in (checkout, *checkout.parents)
