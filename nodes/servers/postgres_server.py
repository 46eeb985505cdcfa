"""PostgreSQL as nodes offer it: one database, and a PgBouncer in front of it on every node.

The database is the store that the nodes share. It listens on a Unix socket only, which
every network namespace sees. A client's connection ends at a node's PgBouncer, as it would
at any storage server: a session, its transaction and its locks last as long as PgBouncer
believes that the client is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodes.servers.server_settings import AS_SHIPPED, ServerSettings
from topologies.domain.plan import MAX_CLIENTS

PGBOUNCER_PORT = 6432
#: Connections of one client, and of all: each is a process of the database.
POSTGRES_CONNECTIONS = 64
POSTGRES_TOTAL = 400
DATABASE = "postgres"
USER = "storage"
#: Of the Unix socket, in whose name it is: ``.s.PGSQL.5432``.
DATABASE_PORT = 5432

#: Traffic patterns that the protocol does not support, with the reason.
POSTGRES_UNSUPPORTED: Mapping[str, str] = {
    "idle": "a transaction is held by a client that works",
    "bursts": "a client keeps its connection from transaction to transaction",
    "pipelined": "a session has one transaction at a time",
    "large": "a transaction writes two small rows",
    "port-reuse": "libpq closes its connection itself, and the port stays in TIME-WAIT",
    "half-closed": "a PostgreSQL session ends when the client shuts down its side",
}

#: Neither program runs as root, by its own choice.
_ACCOUNT = "nobody"
_AS_NOBODY = ("setpriv", f"--reuid={_ACCOUNT}", "--regid=nogroup", "--clear-groups")
#: Each client's connection may have left one behind that nobody ends. The lock monitor and
#: the sessions of the final look need a few more.
_MAX_CONNECTIONS = 2 * POSTGRES_TOTAL + 32

#: Accounts k and k + OTHER_HALF belong to connection k: each transaction carries one unit
#: from the first to the second, and enters its number in the ledger.
OTHER_HALF = POSTGRES_CONNECTIONS * MAX_CLIENTS
_SCHEMA = f"""\
create table accounts (id int primary key, balance bigint not null);
create table ledger (id int, number bigint, primary key (id, number));
insert into accounts select generate_series(0, {2 * OTHER_HALF - 1}), 0;
"""

_SETTINGS = f"""\
listen_addresses = ''
port = {DATABASE_PORT}
unix_socket_directories = '{{folder}}'
unix_socket_permissions = 0777
max_connections = {_MAX_CONNECTIONS}
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
max_wal_size = 64MB
autovacuum = off
logging_collector = off
"""

_PGBOUNCER = f"""\
[databases]
* = host={{folder}} port={DATABASE_PORT} user={USER}
[pgbouncer]
listen_addr = 0.0.0.0, ::
listen_port = {PGBOUNCER_PORT}
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = {{slots}}
default_pool_size = {_MAX_CONNECTIONS}
server_login_retry = 0.1
log_connections = 0
log_disconnections = 0
tcp_user_timeout = {{user_timeout_ms}}
"""


class DatabaseError(RuntimeError):
    """No PostgreSQL of the distribution is installed, or its programs refuse."""


def create_database(store: Path, settings: ServerSettings = AS_SHIPPED) -> None:
    """Makes an empty database in ``store``, with accounts for every client.

    ``settings``: of every PgBouncer. Its keepalive is on, with the system's times.

    Raises :class:`DatabaseError` with what the program said.
    """
    folder, data = _folder(store), _data(store)
    folder.mkdir()
    shutil.chown(folder, _ACCOUNT)
    _run(
        ["initdb", "-D", str(data), "--no-sync", "--auth=trust", "--no-locale"]
        + ["--encoding=UTF8", f"--username={USER}"]
    )
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(_SETTINGS.format(folder=folder))
    _run(
        ["postgres", "--single", "-D", str(data), DATABASE], _SCHEMA.replace("\n", " ")
    )
    (folder / "pgbouncer.ini").write_text(pgbouncer_ini(folder, settings))


def pgbouncer_ini(folder: Path, settings: ServerSettings) -> str:
    """The configuration of every PgBouncer; ``folder``: of the database's Unix socket.

    Without a limit in ``settings`` it has the database's own, which no client meets.
    """
    return _PGBOUNCER.format(
        folder=folder,
        slots=settings.slots or _MAX_CONNECTIONS,
        user_timeout_ms=round((settings.user_timeout_s or 0) * 1000),
    )


def database_argv(store: Path) -> list[str]:
    """The command that runs the database in the foreground until SIGTERM or SIGKILL."""
    return [*_AS_NOBODY, _program("postgres"), "-D", str(_data(store))]


def database_is_ready(store: Path) -> bool:
    """Whether it accepts sessions: ``postmaster.pid`` says so, as pg_ctl(1) reads it."""
    try:
        lines = (_data(store) / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def pgbouncer_argv(store: Path) -> list[str]:
    """The command that runs a node's PgBouncer in the foreground."""
    return [*_AS_NOBODY, "pgbouncer", "-q", str(_folder(store) / "pgbouncer.ini")]


def database_address(store: Path) -> str:
    """The connection string of the database itself, past every PgBouncer."""
    return f"host={_folder(store)} port={DATABASE_PORT} dbname={DATABASE} user={USER}"


def _folder(store: Path) -> Path:
    return store / "postgres"


def _data(store: Path) -> Path:
    return _folder(store) / "data"


def _program(name: str) -> str:
    """Debian keeps the server's programs out of PATH, by version."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    if not found:
        raise DatabaseError("no PostgreSQL in /usr/lib/postgresql")
    return str(found[-1])


def _run(argv: Sequence[str], text: str = "") -> None:
    """Runs one of PostgreSQL's programs with that standard input."""
    done = subprocess.run(
        [*_AS_NOBODY, _program(argv[0]), *argv[1:]],
        input=text,
        text=True,
        capture_output=True,
        check=False,
        cwd="/",
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        raise DatabaseError(f"{argv[0]}: {done.stderr.strip()}")
