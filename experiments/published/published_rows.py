"""The rows of ``published.yaml``: what is published, and how far ours may be from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

ROWS = Path(__file__).with_name("published.yaml")


class Part(BaseModel):
    """A part of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Part):
    """One published figure, and the bounds for ours.

    ``within``: how far ours may be away; ``within_share``: the same, as a share of ours.
    ``at_least``, ``at_most``: bounds of ours themselves, where the published word is one.
    """

    name: str
    published: float | None = None
    within: Annotated[float, Field(ge=0)] | None = None
    within_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _can_fail(self) -> Figure:
        bounds = (self.within, self.within_share, self.at_least, self.at_most)
        if all(bound is None for bound in bounds):
            raise ValueError(f"{self.name}: a figure has within, or a bound")
        distance = self.within is not None or self.within_share is not None
        if distance and self.published is None:
            raise ValueError(f"{self.name}: within what? It has no published figure")
        return self

    def holds(self, ours: float) -> bool:
        """Whether ours is near enough."""
        away = 0.0 if self.published is None else abs(ours - self.published)
        return (
            (self.within is None or away <= self.within)
            and (self.within_share is None or away <= self.within_share * abs(ours))
            and (self.at_least is None or ours >= self.at_least)
            and (self.at_most is None or ours <= self.at_most)
        )

    @property
    def tolerance(self) -> str:
        """The bounds as text."""
        words = []
        if self.within is not None:
            words.append(f"± {self.within:g}")
        if self.within_share is not None:
            words.append(f"± {self.within_share:.0%} of ours")
        if self.at_least is not None:
            words.append(f"≥ {self.at_least:g}")
        if self.at_most is not None:
            words.append(f"≤ {self.at_most:g}")
        return ", ".join(words)


class Row(Part):
    """One published experiment. ``name``: how it is computed, a key of
    :data:`experiments.published.computed.COMPUTED`. ``why``: why ours differs, if it does."""

    name: str
    source: str
    setup: str
    unit: str = ""
    figures: Annotated[tuple[Figure, ...], Field(min_length=1)]
    why: str = ""


class Rows(Part):
    """The whole file."""

    rows: tuple[Row, ...]


def read_rows(path: Path = ROWS) -> tuple[Row, ...]:
    """The rows of that file. Raises :class:`ValueError` for a wrong one."""
    return Rows.model_validate(yaml.safe_load(path.read_text("utf-8"))).rows
