"""Samba as nodes offer it: an smbd on every node, over one folder that all of them share.

There are two ways for one node to know what another node's client has locked:

- *apart*: each smbd has databases of its own, and ``posix locking`` turns a byte-range lock
  into one of fcntl(2), which a cluster's file system shows to every node;
- *together*: all have the same databases, as those that CTDB keeps for a clustered Samba.
  Only so can a client be given durable handles, for which smb.conf(5) wants ``posix
  locking`` off.

Nothing of the host's Samba is read or written. The clients' one user is in a private list
of passwords, and stands for a user that every Debian has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from nodes.servers.server_settings import AS_SHIPPED, ServerSettings

SMB_PORT = 445
#: Connections of one client, and of all: smbd forks a process for each.
SMB_CONNECTIONS = 64
SMB_TOTAL = 200
SHARE = "store"

#: Traffic patterns that the protocol does not support, with the reason.
SMB_UNSUPPORTED: Mapping[str, str] = {
    "idle": "a lock is held by a client that works",
    "bursts": "a client keeps its connection from lock to lock",
    "pipelined": "a session has one lock at a time",
    "large": "a change is one small record",
    "port-reuse": "a client that reconnects takes the next source port",
    "half-closed": "smbd ends a connection when the client shuts down its side",
}

USER = "nobody"
PASSWORD = "storage"
#: smbpasswd(5): name, uid of nobody, no LM hash, NT hash of :data:`PASSWORD` (MD4 of its
#: UTF-16), flags, time of the last change.
_PASSWORDS = f"""\
{USER}:65534:{32 * "X"}:F35EBE4695BC9B481789C028FAED4608:[U          ]:LCT-60000000:
"""

#: ``@own@``: the node's own folder. What is left out has Samba's default, among it all
#: that says how smbd finds out about a dead client: ``deadtime``, ``keepalive``,
#: ``socket options``.
_CONFIG = """\
[global]
server role = standalone server
server min protocol = SMB3_00
server smb encrypt = off
# A connection is a process, also that of a client which has another one.
server multi channel support = no
netbios name = STORAGE
disable netbios = yes
smb ports = {port}
passdb backend = smbpasswd:{passwords}
private dir = {databases}/private
lock directory = {databases}/lock
state directory = {databases}/state
cache directory = {databases}/cache
pid directory = @own@/pid
ncalrpc dir = @own@/ncalrpc
log level = 0
disable spoolss = yes
load printers = no
usershare max shares = 0
rpc start on demand helpers = no
{options}smb2 leases = no
[{share}]
path = {files}
read only = no
{locking}"""

_APART = """\
oplocks = no
durable handles = no
posix locking = yes
# The kernel's list of locks then names the process that holds one. To other processes,
# and so to other nodes, a lock of a process and one of an open file are the same.
smbd force process locks = yes
"""

_TOGETHER = """\
oplocks = yes
durable handles = yes
posix locking = no
kernel oplocks = no
kernel share modes = no
"""


def create_share(store: Path, settings: ServerSettings = AS_SHIPPED) -> None:
    """Makes the shared folder, empty, and the settings of nodes that are apart."""
    _create(store, "@own@", _APART, settings)


def create_clustered_share(store: Path, settings: ServerSettings = AS_SHIPPED) -> None:
    """The same for nodes that have their databases together."""
    databases = store / "smb" / "databases"
    _create(store, str(databases), _TOGETHER, settings)
    (databases / "private").mkdir(parents=True)
    text = _configuration(store).read_text()
    status_configuration(store).write_text(text.replace("@own@", str(databases)))


def _create(
    store: Path, databases: str, locking: str, settings: ServerSettings
) -> None:
    files = shared_folder(store)
    files.mkdir(parents=True)
    shutil.chown(files, USER)
    passwords = store / "smb" / "smbpasswd"
    passwords.write_text(_PASSWORDS)
    _configuration(store).write_text(
        _CONFIG.format(
            port=SMB_PORT,
            share=SHARE,
            files=files,
            passwords=passwords,
            databases=databases,
            locking=locking,
            options=_socket_options(settings),
        )
    )


def _socket_options(settings: ServerSettings) -> str:
    """smbd turns keepalive on by itself; its times are the kernel's."""
    if settings.user_timeout_s is None:
        return ""
    timeout_ms = round(settings.user_timeout_s * 1000)
    return f"socket options = TCP_NODELAY TCP_USER_TIMEOUT={timeout_ms}\n"


def smbd_argv(store: Path) -> list[str]:
    """The command that runs a node's smbd in the foreground.

    The shell makes the node's own folder and executes smbd, so that killing it ends smbd.
    smbd would make a session (setsid(2)), and fails as the first process of one.
    """
    script = (
        'own="${0%/*}/node-$$" && mkdir -p "$own/private" && '
        'sed "s|@own@|$own|" "$0" >"$own/smb.conf" && '
        'exec smbd --foreground --no-process-group --debug-stdout -s "$own/smb.conf"'
    )
    return ["sh", "-c", script, str(_configuration(store))]


def shared_folder(store: Path) -> Path:
    """The folder that all nodes offer."""
    return store / "smb" / "files"


def status_configuration(store: Path) -> Path:
    """The settings for smbstatus(1), where the databases are together."""
    return store / "smb" / "status.conf"


def _configuration(store: Path) -> Path:
    return store / "smb" / "smb.conf"
