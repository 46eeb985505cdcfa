"""``chaos.json``: what a run of chaos did and found, as a model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class FoundViolation(BaseModel):
    """One violation of an invariant."""

    model_config = ConfigDict(extra="forbid")

    invariant: str = Field(description="which one, e.g. half-open")
    at_s: float = Field(description="seconds after the first action could begin")
    text: str = Field(description="what was seen")


class HalfOpenFigures(BaseModel):
    """Half-open connections that the socket tables showed."""

    model_config = ConfigDict(extra="forbid")

    seen: int = Field(description="sockets seen half open in at least one look")
    unasked: int = Field(
        description="of these, those of which healing had no reason to ask"
    )
    worst_s: float = Field(description="longest time beyond its cause, in seconds")
    worst: str = Field(description="which connection that was")
    bound_s: float | None = Field(description="the bound; null if none is promised")
    slack_s: float = Field(description="added to the bound")


class ConnectionFigures(BaseModel):
    """Established connections of clients that ended, by the socket probes."""

    model_config = ConfigDict(extra="forbid")

    ended: int
    moved: int = Field(description="had more than one owner in their life")
    reset: int = Field(description="were reset by a segment")
    excused: int = Field(description="of the unmoved, those whose server was killed")


class DataFigures(BaseModel):
    """The blocks' histories."""

    model_config = ConfigDict(extra="forbid")

    acknowledged_writes: int
    reads: int
    open_writes: int = Field(description="never acknowledged")
    late_writes: int = Field(
        description="open writes that happened after a later one was acknowledged"
    )


class ProgramFigures(BaseModel):
    """The programs of the cluster."""

    model_config = ConfigDict(extra="forbid")

    longest_missing_s: float = Field(description="longest time one did not run")
    memory_kib: dict[str, tuple[int, int]] = Field(
        description="resident memory of each: at first, and the most"
    )


class ChaosSummary(BaseModel):
    """One run of chaos. ``outcome`` and exit status are those of ``run``."""

    model_config = ConfigDict(extra="allow")

    outcome: Literal["as-expected", "unexpected", "untrusted"]
    reasons: list[str] = Field(description="why it cannot be trusted")
    seed: int | None = Field(description="null: a schedule from a file")
    duration_s: float = Field(description="from the first to the last look")
    cluster: dict[str, Any] = Field(description="what the cluster is")
    done: dict[str, int] = Field(description="what was done, by kind")
    skipped: dict[str, int] = Field(description="what was not possible, by kind")
    violations: list[FoundViolation]
    half_open: HalfOpenFigures
    connections: ConnectionFigures
    data: DataFigures
    programs: ProgramFigures
    looks: int = Field(description="how often everything was looked at")
    late_s: float = Field(description="how late these looks were together, in seconds")
    actions: list[dict[str, Any]] = Field(description="the schedule, as far as it got")
    shortest: list[dict[str, Any]] | None = Field(
        default=None, description="the shortest sequence found that violates again"
    )
    tries: int = Field(default=0, description="runs made to find it")
