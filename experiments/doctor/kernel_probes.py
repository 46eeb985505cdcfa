"""Probes of the kernel and Open vSwitch features that a run needs, in a temporary sandbox.

``python -m experiments.doctor.kernel_probes [NAME ...]`` runs all probes, or those named,
*in the namespaces of the caller*, and prints the findings as JSON. :func:`probe_all` and
:func:`probe_some` start it in its own namespaces. Interfaces, mounts, daemons and tables
vanish with them. A module that the kernel loads for a probe stays loaded. Where
modprobe's dry run is enough, nothing is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from experiments.instruments.probes import Probes
from experiments.machine.machine import (
    CHECKOUT,
    Finding,
    State,
    missing,
    present,
    unknown,
)
from nodes.kernel.libbpf import BpfError

#: The namespaces of a cluster's sandbox (unshare(1)). ``--kill-child`` ends all of it.
SANDBOX = (
    "unshare",
    *("--net", "--mount", "--pid", "--ipc", "--uts"),
    *("--fork", "--kill-child", "--mount-proc"),
)
NAMESPACES = ("net", "mount", "pid", "ipc", "uts")
_TIMEOUT_S = 20.0
_AF_XDP = 44
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")

#: The helpers that the guard needs: bpf_skc_lookup_tcp (99), bpf_sk_release (86).
_BPF_PROGRAM = """
static void *(*const lookup)(void *, void *, unsigned, unsigned long long,
                             unsigned long long) = (void *)99;
static long (*const release)(void *) = (void *)86;
__attribute__((section("tc"), used)) int probe(void *skb) {
    unsigned tuple[3] = {0, 0, 0};
    void *sk = lookup(skb, tuple, sizeof tuple, -1, 0);
    if (sk) release(sk);
    return 0;
}
__attribute__((section("license"), used)) char _license[] = "GPL";
"""


class ProbeFailed(Exception):
    """A step of a probe failed. The text says which, and why."""


def probe_all() -> dict[str, Finding]:
    """Findings by the names in :data:`PROBES`; all unknown without root."""
    return probe_some(PROBES)


def probe_some(names: Iterable[str]) -> dict[str, Finding]:
    """Findings of those probes; and of ``namespaces``, if the sandbox fails."""
    names = tuple(names)
    if os.geteuid() != 0:
        return {name: unknown("unknown without root") for name in names}
    module = "experiments.doctor.kernel_probes"
    command = (*SANDBOX, sys.executable, "-m", module, *names)
    try:
        # Each has its time, on a machine that is slow or emulated, too.
        timeout_s = _TIMEOUT_S * (1 + len(names))
        printed = _output(command, folder=CHECKOUT, timeout_s=timeout_s)
    except ProbeFailed as error:
        unprobed = {name: unknown("no sandbox for the probe") for name in names}
        return unprobed | {"namespaces": missing(str(error))}
    found: dict[str, dict[str, str]] = json.loads(printed)
    return {
        name: Finding(State(each["state"]), each["detail"])
        for name, each in found.items()
    }


def namespaces() -> Finding:
    """Each kind of namespace of a sandbox, one by one."""
    for kind in NAMESPACES:
        _output(("unshare", f"--{kind}", "true"))
    return present(f"all {len(NAMESPACES)} kinds")


def virtual_links() -> Finding:
    """A veth pair, as for the links of a cluster."""
    _output(("ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"))
    _output(("ip", "link", "del", "probe0"))
    return present("veth")


def socket_probes() -> Finding:
    """The programs that record socket states and resets: built, loaded, attached."""
    with tempfile.TemporaryFile() as spool:
        try:
            probes = Probes(spool, ())
            probes.enable()
        except BpfError as error:
            raise ProbeFailed(str(error)) from None
        probes.close()
    return present("built and attached")


def guard_program() -> Finding:
    """A tc eBPF program with the guard's socket lookup: built, verified, attached."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "probe.o")
        build = ("clang", "-O2", "-target", "bpf", "-x", "c", "-c", "-")
        _output((*build, "-o", str(program)), text=_BPF_PROGRAM)
        _output(("tc", "qdisc", "add", "dev", "lo", "clsact"))
        attach = ("tc", "filter", "add", "dev", "lo", "ingress", "bpf", "da")
        _output((*attach, "obj", str(program), "sec", "tc"))
    return present("built and attached")


def nftables() -> Finding:
    """An nftables table with a rule for a packet's socket."""
    rule = "type filter hook input priority 0; socket wildcard 0 accept"
    _output(("nft", "add table inet probe"))
    try:
        _output(("nft", f"add chain inet probe input {{ {rule}; }}"))
    except ProbeFailed:
        return present("without the socket expression")
    return present("with the socket expression")


def destroy_sockets() -> Finding:
    """SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY): whether ``ss -K`` ends a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, timeout=0.5) as client:
            _output(("ss", "-K", "dst", address[0], "dport", "=", str(address[1])))
            # Without the feature, ss prints nothing and still succeeds.
            try:
                client.recv(1)
            except ConnectionAbortedError:
                return present("a connection was ended")
            except TimeoutError:
                pass
    return missing("ss -K did not end a connection")


def queueing(kind: str, *options: str) -> Finding:
    """A queueing discipline: a loadable module, or else added to ``lo``."""
    if _module_is_there(f"sch_{kind}"):
        return present(f"sch_{kind}")
    _output(("tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", kind, *options))
    _output(("tc", "qdisc", "del", "dev", "lo", "root"))
    return present(f"{kind} on lo")


def kernel_datapath() -> Finding:
    """Open vSwitch's kernel module, loaded or loadable."""
    if _module_is_there("openvswitch"):
        return present("openvswitch module")
    return missing("no openvswitch module")


def userspace_datapath() -> Finding:
    """A separate Open vSwitch creates a bridge in user space and opens its port."""
    with _open_vswitch() as (vsctl, log):
        bridge = ("--", "set", "bridge", "probe", "datapath_type=netdev")
        _output((*vsctl, "add-br", "probe", *bridge))
        # A failed bridge leaves no error in the database, only no port number.
        port = _output((*vsctl, "get", "interface", "probe", "ofport")).strip()
        if not port.isdigit():
            raise ProbeFailed(_first_warning(log.read_text()))
        kinds = _output((*vsctl, "get", "open_vswitch", ".", "iface_types"))
    return present("with AF_XDP ports" if "afxdp" in kinds else "without AF_XDP ports")


@contextlib.contextmanager
def _open_vswitch() -> Iterator[tuple[Sequence[str], Path]]:
    """Runs a database and a switch daemon in a temporary folder.

    Yields the command prefix of ovs-vsctl, and the daemon's log. ``--disable-system``
    keeps the daemon from loading the kernel module (ovs-vswitchd(8)).
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        base, database = Path(folder), f"unix:{folder}/db.sock"
        _output(("ovsdb-tool", "create", f"{base}/conf.db", str(_SCHEMA)))
        remote = f"--remote=p{database}"
        server = ("ovsdb-server", f"{base}/conf.db", remote)
        running.enter_context(_daemon(server, base))
        _wait_for(base / "db.sock")
        daemon = ("ovs-vswitchd", database, "--disable-system")
        running.enter_context(_daemon(daemon, base))
        vsctl = ("ovs-vsctl", f"--db={database}", f"--timeout={_TIMEOUT_S:.0f}")
        yield vsctl, base / "ovs-vswitchd.log"


@contextlib.contextmanager
def _daemon(command: Sequence[str], folder: Path) -> Iterator[None]:
    name = folder / command[0]
    files = (f"--unixctl={name}.ctl", f"--log-file={name}.log")
    null = subprocess.DEVNULL
    with subprocess.Popen((*command, *files), stdout=null, stderr=null) as process:
        try:
            yield
        finally:
            process.kill()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise ProbeFailed(f"{path.name} did not appear")
        time.sleep(0.005)


def af_xdp() -> Finding:
    """AF_XDP sockets, for switch ports that bypass the kernel's stack."""
    socket.socket(_AF_XDP, socket.SOCK_RAW, 0).close()
    return present("AF_XDP sockets")


PROBES: dict[str, Callable[[], Finding]] = {
    "namespaces": namespaces,
    "virtual links": virtual_links,
    "userspace datapath": userspace_datapath,
    "kernel datapath": kernel_datapath,
    "socket probes": socket_probes,
    "guard program": guard_program,
    "socket destroy": destroy_sockets,
    "nftables": nftables,
    "sch_netem": lambda: queueing("netem", "delay", "1ms"),
    "sch_htb": lambda: queueing("htb"),
    "sch_tbf": lambda: queueing("tbf", "rate", "1mbit", "burst", "2k", "latency", "1s"),
    "AF_XDP": af_xdp,
}


def scratch_folder(checkout: Path) -> Path:
    """A folder that a file system may be mounted on: it does not hide the checkout.

    The usual one for temporary files is one of those, unless the checkout is in it.
    """
    candidates = (tempfile.gettempdir(), "/mnt", "/media", "/srv")
    return next(
        folder
        for folder in map(Path, candidates)
        if folder.is_dir() and folder not in (checkout, *checkout.parents)
    )


def _probe_here(names: Sequence[str]) -> dict[str, Finding]:
    """Run those probes in the namespaces of the caller, which must be temporary."""
    _output(("ip", "link", "set", "lo", "up"))
    tempfile.tempdir = str(scratch_folder(CHECKOUT))
    _output(("mount", "-t", "tmpfs", "probe", tempfile.tempdir))
    return {name: _found(PROBES[name]) for name in names}


def _found(probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except (ProbeFailed, OSError) as error:
        return missing(str(error))


def _output(
    command: Sequence[str],
    text: str | None = None,
    folder: Path | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> str:
    """The output of a command. Raises :class:`ProbeFailed` with its error."""
    try:
        done = subprocess.run(
            command,
            check=False,
            input=text,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except FileNotFoundError:
        raise ProbeFailed(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"{command[0]} did not end in {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise ProbeFailed(f"{command[0]}: {_error_line(done.stderr or done.stdout)}")
    return done.stdout


def _error_line(text: str) -> str:
    """The first error line of a tool's output, or else its last line."""
    lines = text.strip().splitlines() or ["failed without output"]
    return next((line for line in lines if "error:" in line.lower()), lines[-1])


def _first_warning(log: str) -> str:
    """The first warning in a log of Open vSwitch (fields separated by ``|``)."""
    lines = (line.split("|", 4) for line in log.splitlines())
    found = (text for _, _, _, level, text in lines if level in ("WARN", "ERR", "EMER"))
    return next(found, "ovs-vswitchd made no bridge, without a warning")


def _module_is_there(name: str) -> bool:
    """Whether a module is loaded or loadable (modprobe's dry run loads nothing)."""
    if Path("/sys/module", name).exists():
        return True
    with contextlib.suppress(ProbeFailed):
        _output(("modprobe", "--dry-run", "--quiet", name))
        return True
    return False


if __name__ == "__main__":
    chosen = sys.argv[1:] or [*PROBES]
    found = {name: asdict(finding) for name, finding in _probe_here(chosen).items()}
    print(json.dumps(found))
