#!/usr/bin/env python3
"""Writes who holds locks in the database, several times a second, until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import psycopg

from nodes.servers.lock_log import INTERVAL_S, LockSample

#: Clients name their sessions ``HOST:PORT``; PgBouncer passes the name on.
_SESSIONS = """\
select a.application_name,
       bool_or(coalesce(l.granted and l.locktype = 'advisory', false)),
       bool_or(not coalesce(l.granted, true))
from pg_stat_activity a left join pg_locks l using (pid)
where a.application_name like '%:%'
group by a.pid, a.application_name"""


def sample(connection: psycopg.Connection[tuple[str, bool, bool]]) -> LockSample:
    """One look at pg_stat_activity and pg_locks. Raises ``psycopg.Error``."""
    rows = connection.execute(_SESSIONS).fetchall()
    return LockSample(
        time.time(),
        tuple(sorted(name for name, _, _ in rows)),
        tuple(sorted(name for name, holds, _ in rows if holds)),
        sum(waits for _, _, waits in rows),
    )


def main(argv: list[str]) -> int:
    """Looks until SIGTERM. Returns 1 if the database cannot be asked."""
    parser = argparse.ArgumentParser(prog="postgres_locks.py", description=__doc__)
    parser.add_argument("--database", required=True, help="libpq's connection string")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with psycopg.connect(options.database, autocommit=True) as connection:
            while True:
                sys.stdout.write(sample(connection).to_json())
                sys.stdout.flush()
                time.sleep(INTERVAL_S)
    except psycopg.Error as error:
        print(f"postgres_locks.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
