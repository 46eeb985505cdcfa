"""Rate, delay and loss of what a host sends: the options of its link; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: Minimum values above 0: smaller ones are below the resolution of tc and the kernel.
MIN_VALUES = {"rate_mbit": 1e-3, "delay_ms": 1e-3, "loss_percent": 1e-6}

_UNITS = {"rate_mbit": "Mbit/s", "delay_ms": "ms", "loss_percent": "% lost"}


class LinkOptionsError(ValueError):
    """Options that no link can have; the text names the key."""


@dataclass(frozen=True)
class LinkOptions:
    """The shaping of what a host sends; None or 0: no limit, delay or loss.

    ``rate_mbit``: maximum rate in Mbit/s (10^6). ``delay_ms``: added delay of every frame.
    ``loss_percent``: independent random loss of frames. A round trip passes both hosts'
    shaping, so delay and loss apply twice.
    """

    rate_mbit: float | None = None
    delay_ms: float | None = None
    loss_percent: float | None = None

    def __post_init__(self) -> None:
        """Raises :class:`LinkOptionsError` for a value out of range."""
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value < math.inf:
                raise LinkOptionsError(f"{name}: must not be below 0, but is {value:g}")
            if value and value < MIN_VALUES[name]:
                raise LinkOptionsError(
                    f"{name}: {value:g} is below the minimum, {MIN_VALUES[name]:g}"
                )
        if self.rate_mbit == 0:
            raise LinkOptionsError(
                "rate_mbit: must be above 0; leave it out for no limit"
            )
        if (self.loss_percent or 0) >= 100:
            raise LinkOptionsError(
                "loss_percent: must be below 100, else nothing arrives"
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LinkOptions:
        """The options that :meth:`to_json` described. Raises :class:`LinkOptionsError`."""
        return cls(**data)

    def to_json(self) -> dict[str, float | None]:
        """Plain JSON of these options."""
        return asdict(self)

    def __str__(self) -> str:
        """For people.

        >>> str(LinkOptions(delay_ms=5, loss_percent=0.5)), str(UNSHAPED)
        ('5 ms, 0.5 % lost', 'not shaped')
        """
        parts = [
            f"{value:g} {_UNITS[key]}" for key, value in asdict(self).items() if value
        ]
        return ", ".join(parts) or "not shaped"


#: Links without limits.
UNSHAPED = LinkOptions()
