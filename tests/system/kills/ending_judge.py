"""What is wrong with the way a run ended of which a process was killed; pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from tests.system.kills.kill_schedule import Kill
from tests.system.kills.killed_run import Ending
from tests.system.kills.victims import LAUNCHER, Cost

#: Exit status of a run that could not be finished, or whose expectation failed.
FAILED = 1
#: What a shell says of a program that SIGKILL ended (and the launcher of its sandbox).
KILLED = 128 + signal.SIGKILL
_STATUS = {"as-expected": 0, "unexpected": FAILED, "untrusted": 4}
#: Phases in which the supervisor has time to start a program again.
_SUPERVISED = ("steady", "event")


def faults_of(kill: Kill, ending: Ending) -> list[str]:
    """A sentence for each fault; empty if all is well."""
    found = [f"left behind: {one}" for one in ending.left]
    if "Traceback" in ending.errors:
        found.append("it ended with a traceback, not with a message")
    if ending.victim is None:
        return found + [*_whole(ending), *_undisturbed(kill, ending)]
    if kill.victim.cost is Cost.RUN:
        return found + [*_killed(kill, ending)]
    if ending.summary is None:
        return found + [*_gave_up(kill, ending)]
    return found + [
        *_whole(ending),
        *_restarted(kill, ending),
        *_undisturbed(kill, ending),
    ]


def _killed(kill: Kill, ending: Ending) -> Iterator[str]:
    """The end of a run without which nothing can go on."""
    if kill.victim.name == LAUNCHER:
        if ending.status != -signal.SIGKILL:
            yield f"the launcher ended with {ending.status}, not by SIGKILL"
    elif ending.summary is None or ending.status not in _STATUS.values():
        if ending.status != KILLED:
            yield f"its exit status is {ending.status}, not {KILLED}"
        if "SIGKILL ended this run" not in ending.errors:
            yield "it does not say that it was killed"


def _gave_up(kill: Kill, ending: Ending) -> Iterator[str]:
    """A run that could not go on says why. While it works, only what measures may end it."""
    measures = kill.victim.cost in (Cost.TRUST, Cost.ITS_HOST)
    if not measures and kill.phase.name in _SUPERVISED:
        yield f"it did not survive the death of its {kill.victim.name}"
    if ending.status != FAILED:
        yield f"its exit status is {ending.status}, not {FAILED}"
    if "\nresetbed: " not in f"\n{ending.errors}":
        yield "it gives no reason"


def _whole(ending: Ending) -> Iterator[str]:
    """The exit status is that of the outcome, and no acknowledged write is lost."""
    summary = ending.summary
    if summary is None:
        yield f"there is no summary; exit status {ending.status}"
        return
    if ending.status != _STATUS[summary["outcome"]]:
        yield f"its outcome is {summary['outcome']}, its exit status {ending.status}"
    if summary["data"]["lost_writes"]:
        yield f"{summary['data']['lost_writes']} acknowledged writes are lost"


def _restarted(kill: Kill, ending: Ending) -> Iterator[str]:
    """What the supervisor owns runs again."""
    wanted = kill.victim.restarted
    if wanted and kill.phase.name in _SUPERVISED:
        name = f"{wanted}{ending.host}" if wanted.endswith(" ") else wanted
        if name not in ending.restarted:
            yield f"{name} was not started again, only {[*ending.restarted]}"


def _undisturbed(kill: Kill, ending: Ending) -> Iterator[str]:
    """Connections that neither moved nor need the victim are not reset, and do not hang."""
    if ending.summary is None:
        return
    excused = [one for one in ending.connections if _needs_victim(kill, ending, one)]
    for one in ending.connections:
        if not one["moved"] and one["reset_s"] is not None and one not in excused:
            yield f"{one['connection']} of {one['owner']} did not move and was reset"
    seen = ending.summary["connections"]
    # In the take-down clients end a second later: too soon for a switch that has died.
    waited = kill.phase.name != "take-down"
    if waited and ending.hung > seen["hung"] + len(excused):
        yield f"{ending.hung} connections hang; of those moved, {seen['hung']}"
    if not excused and seen["broken_unmoved"]:
        yield f"{seen['broken_unmoved']} connections did not move and were disturbed"


def _needs_victim(kill: Kill, ending: Ending, one: Mapping[str, Any]) -> bool:
    if ending.victim is None:
        return False
    if kill.victim.cost is Cost.ITS_NODE:
        return bool(one["owner"] == ending.host)
    return kill.victim.cost in (Cost.ALL_NODES, Cost.ITS_HOST)
