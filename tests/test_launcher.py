"""The launcher, from the first use of a checkout to the call handed over."""

from __future__ import annotations

import configparser
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher_bench import (
    CHECKOUT,
    LAUNCHER,
    NOBODY,
    TOOLS,
    Bench,
    make_bench,
    path_of,
)

_DEADLINE_S = 60.0
#: Who has no rights here: nobody, or the caller where we cannot become anyone else.
_POWERLESS = NOBODY if os.geteuid() == 0 else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everyone can enter, unlike pytest's own, with a space in its name."""
    with tempfile.TemporaryDirectory(prefix="reset bed ") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def bench(folder: Path, used: Bench) -> Bench:
    """A checkout that was never used, and whose first use is quick."""
    return make_bench(folder / "checkout").quicken(used)


@pytest.fixture(scope="module")
def used() -> Iterator[Bench]:
    """A checkout that was used once."""
    with tempfile.TemporaryDirectory(prefix="reset bed ") as path:
        Path(path).chmod(0o755)
        bench = make_bench(Path(path, "checkout"))
        first = bench.call("validate")
        assert first.status == 1, first.messages
        assert "making the Python environment" in first.messages
        yield bench


def _sourced(*command: str) -> list[str]:
    """The lines that one of the launcher's functions prints."""
    script = 'source "$1" && "${@:2}"'
    done = subprocess.run(
        ("bash", "-c", script, "bash", str(LAUNCHER), *command),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("options", "install_requires"),
        ("options.extras_require", "test"),
        ("options.extras_require", "dask"),
        ("options.extras_require", "ryu"),
        ("resetbed", "packages"),
        ("resetbed", "kernel_packages"),
        ("resetbed", "ryu_build"),
    ],
)
def test_lists_are_read_as_python_reads_them(section: str, key: str) -> None:
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    assert _sourced("listed", section, key) == settings[section][key].split("\n")[1:]


def test_packages_of_some_commands_are_installed_once_and_said(bench: Bench) -> None:
    settings = bench.folder / "setup.cfg"
    text = settings.read_text()
    wheel = next(line for line in text.splitlines() if "miniature @" in line)
    settings.write_text(text.replace("test =\n", f"test =\nmore =\n{wheel}\n"))
    first = bench.call("setup", "extra", "more")
    assert first.status == 0, first.messages
    assert "installing Python packages for more" in first.messages
    again = bench.call("setup", "extra", "more")
    assert (again.status, again.messages) == (0, "")
    other = bench.call("setup", "extra", "nothing")
    assert other.status == 3
    assert "no packages are called nothing" in other.messages


def test_packages_that_are_not_installed_are_missing() -> None:
    names = ("bash", "no-such-a", "dpkg", "no-such-b")
    assert _sourced("missing_packages", *names) == ["no-such-a", "no-such-b"]


def test_a_set_up_checkout_is_silent_and_passes_everything_on(used: Bench) -> None:
    answer = used.call("validate", "a  b", "--", "$x", given="input\n")
    assert answer.messages == ""
    assert answer.status == 4
    assert answer.said["arguments"] == ["validate", "a  b", "--", "$x"]
    assert answer.said["input"] == "input\n"
    assert answer.said["environment"] == str(used.folder / ".venv")


def test_it_can_be_called_through_a_link_from_anywhere(
    used: Bench, folder: Path
) -> None:
    link = folder / "link to it"
    link.symlink_to(used.folder / "resetbed")
    answer = used.call("validate", launcher=link, folder=folder)
    assert answer.said["file"] == str(used.folder / "experiments" / "__main__.py")
    assert answer.said["folder"] == str(folder)


def test_other_modules_of_that_name_do_not_come_first(
    used: Bench, folder: Path
) -> None:
    decoy = make_bench(folder / "decoy").folder
    variables = {"PYTHONPATH": str(decoy)}
    answer = used.call("validate", folder=decoy, variables=variables)
    assert answer.said["file"] == str(used.folder / "experiments" / "__main__.py")


@pytest.mark.live
def test_as_process_1_of_a_container_it_stays_to_reap_orphans(used: Bench) -> None:
    done = subprocess.run(
        ("unshare", "--pid", "--fork", *used.command("validate")),
        check=False,
        capture_output=True,
        env=used.environment(),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["process"] != 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("--version",), ("schema", "spec"), ("run", "--help")],
    ids=str,
)
def test_what_only_reads_needs_no_root(
    used: Bench, folder: Path, arguments: tuple[str, ...]
) -> None:
    path = {"PATH": path_of(folder / "bin")}
    answer = used.call(*arguments, user=_POWERLESS, variables=path)
    assert answer.said["arguments"] == list(arguments)


def _without_root(function: str, *arguments: str) -> list[str]:
    """What one of the launcher's functions would run, an argument a line."""
    script = (
        'source "$1"; set_up() { echo "set up $*"; }; become_root() { echo root; }\n'
        'exec() { printf "%s\\n" "$@"; exit; }; "${@:2}"'
    )
    done = subprocess.run(
        ("bash", "-c", script, "bash", str(LAUNCHER), function, *arguments),
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"RESETBED_PACKAGES": "ready"},
    )
    return done.stdout.splitlines()


def test_fast_tests_run_as_the_caller() -> None:
    first, _python, *arguments = _without_root("main", "test", "--fast", "-k", "a b")
    assert first == "set up reading .venv"
    wanted = ["-I", "-m", "pytest", "-n", "2", "-m", "not live", "-k", "a b"]
    assert arguments == wanted


def test_lint_runs_as_the_caller() -> None:
    first, _python, *arguments = _without_root("main", "lint")
    assert first == "set up reading .venv"
    assert arguments == ["-E", "-s", "-m", "tests.lint"]


def test_the_site_is_made_as_the_caller() -> None:
    first, _python, *arguments = _without_root("main", "docs")
    assert first == "set up reading .venv"
    assert arguments[:4] == ["-I", "-m", "sphinx", "-W"]


def test_fast_tests_name_the_packages_that_are_missing(
    used: Bench, folder: Path
) -> None:
    settings = used.folder / "setup.cfg"
    good = settings.read_text()
    settings.write_text(good + "    no-such-package-of-ours\n")
    path = {"PATH": path_of(folder / "bin")}
    answer = used.call("test", "--fast", user=_POWERLESS, variables=path)
    settings.write_text(good)
    assert answer.status == 3
    assert "missing: no-such-package-of-ours." in answer.messages
    assert "./resetbed setup" in answer.messages


@pytest.mark.parametrize("arguments", [("demo",), ("exec", "h1", "--", "ls", "--help")])
def test_without_root_and_sudo_there_is_an_error(
    used: Bench, folder: Path, arguments: tuple[str, ...]
) -> None:
    path = {"PATH": path_of(folder / "bin")}
    answer = used.call(*arguments, user=_POWERLESS, variables=path)
    assert answer.status == 3
    assert "needs root" in answer.messages


def test_without_apt_it_names_the_packages(folder: Path, bench: Bench) -> None:
    tools = [name for name in TOOLS if name != "apt-get"]
    path = {"PATH": path_of(folder / "bin", tools)}
    answer = bench.call("demo", variables=path)
    assert answer.status == 3
    assert ": python3 bash" in answer.messages
    assert not (bench.folder / ".venv").exists()


@pytest.mark.live
def test_a_checkout_of_another_user_is_reported(folder: Path, bench: Bench) -> None:
    path = {"PATH": path_of(folder / "bin")}
    answer = bench.call("validate", user=NOBODY, variables=path)
    assert answer.status == 3
    assert f"{bench.folder} is not ours to write" in answer.messages


def test_a_failure_shows_the_log_and_the_next_use_starts_again(bench: Bench) -> None:
    settings = bench.folder / "setup.cfg"
    good = settings.read_text()
    bench.require("no-such-package-of-ours")
    answer = bench.call("validate")
    assert answer.status == 3
    assert "no-such-package-of-ours" in answer.messages
    assert str(bench.folder / ".build" / "setup.log") in answer.messages
    settings.write_text(good)
    assert bench.call("validate").said["arguments"] == ["validate"]


@pytest.mark.parametrize(
    ("change", "ready"),
    [("s/^$//", True), ("s/miniature/another/", False), ("s/^test =/&\\n  x/", False)],
    ids=["nothing changed", "a package changed", "a package more"],
)
def test_a_changed_list_is_noticed(used: Bench, change: str, ready: bool) -> None:
    script = (
        'source "$1"; settings=$(mktemp); sed "$2" "$checkout/setup.cfg" >"$settings"; '
        'status=0; environment_is_ready .venv || status=$?; rm "$settings"; exit $status'
    )
    launcher = str(used.folder / "resetbed")
    # As in a development container, the tests' own environment may be elsewhere.
    here = {key: text for key, text in os.environ.items() if key != "RESETBED_HOME"}
    command = ("bash", "-c", script, "bash", launcher, change)
    done = subprocess.run(command, env=here, check=False)
    assert (done.returncode == 0) is ready


def test_two_first_uses_at_once_make_one_environment(
    folder: Path, bench: Bench
) -> None:
    home = folder / "kept elsewhere"
    both = [_start(bench, RESETBED_HOME=str(home)) for _ in range(2)]
    messages = [process.communicate(timeout=_DEADLINE_S)[1] for process in both]
    assert [process.returncode for process in both] == [1, 1]
    assert "".join(messages).count("making the Python environment") == 1
    assert (home / ".venv").is_dir()
    assert not (bench.folder / ".venv").exists()


def test_a_killed_first_use_is_completed_by_the_next(bench: Bench) -> None:
    first = _start(bench)
    environment = bench.folder / ".venv" / "bin"
    deadline = time.monotonic() + _DEADLINE_S
    while not environment.exists():
        assert time.monotonic() < deadline, "no environment was begun"
        time.sleep(0.01)
    # Alone, as the kernel's out-of-memory killer would: its child lives on.
    first.send_signal(signal.SIGKILL)
    answer = bench.call("validate")
    first.communicate(timeout=_DEADLINE_S)
    assert answer.said["arguments"] == ["validate"]


def _start(bench: Bench, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        bench.command("validate"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=bench.environment(**variables),
        text=True,
    )


@pytest.mark.live
def test_other_kernels_are_handed_over_without_any_environment(folder: Path) -> None:
    """To the system's interpreter: its words, its refusal, its status."""
    variables = {"RESETBED_PACKAGES": "ready", "RESETBED_HOME": str(folder)}
    done = subprocess.run(
        (str(LAUNCHER), "test", "--kernel", "debian-1"),
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | variables,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "debian-12, debian-13" in done.stderr
    assert [path.name for path in folder.iterdir()] == [".build"]


_POLICY_SCRIPT = """
mount -t tmpfs trial /usr/sbin
bash -c 'source "$1"; hold_services
    for unit in openvswitch-switch.service ovsdb-server.service \\
            nginx.service tgt.service smbd.service nmbd.service samba-ad-dc.service \\
            cron.service; do
        status=0; /usr/sbin/policy-rc.d "$unit" start || status=$?
        echo "$unit $status"
    done
    cp /usr/sbin/policy-rc.d /usr/sbin/left-behind' bash "$0"
ls /usr/sbin
/usr/sbin/left-behind openvswitch-switch.service start; echo "left behind: $?"
"""


@pytest.mark.live
def test_packages_start_no_service_on_the_host() -> None:
    done = subprocess.run(
        ("unshare", "--mount", "bash", "-c", _POLICY_SCRIPT, str(LAUNCHER)),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "openvswitch-switch.service 101",
        "ovsdb-server.service 101",
        "nginx.service 101",
        "tgt.service 101",
        "smbd.service 101",
        "nmbd.service 101",
        "samba-ad-dc.service 101",
        "cron.service 0",
        "left-behind",
        "left behind: 0",
    ]
