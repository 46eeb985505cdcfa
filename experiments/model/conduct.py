"""What nodes and switches do with moved connections, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

from controller.policies.policy import ResetPolicy
from controller.policies.questions import Travel


@dataclass(frozen=True)
class Delays:
    """Seconds. The defaults are medians of the suite "designs" on a quiet machine, and
    ``at_event_s`` of the runs of ``proactive`` in the suite "model", two at a time.

    ``reset_s``: from a stray to its client's reset. ``copy_s``: from a stray until a copy
    frees the owner. ``out_of_band_s``: the same through the controller. ``at_event_s``:
    from a change until nodes have reset what moved. ``keepalive_s``: from the last segment
    of a client until its server gives up, by Linux's defaults (7200 s, then 9 questions 75
    s apart; ip-sysctl). ``give_up_s``: until a client that hears nothing gives up
    (``tcp_retries2``); a server too that has something to send. ``pin_s``: how long a pin
    stays after the connection (``controller/policies/stateful.py``). ``ack_delay_s``: a
    client that speaks at least that often acknowledges its server's last answer with its
    next request (the kernel's least delay of an ACK). So its server has something to send.
    """

    reset_s: float = 0.001
    copy_s: float = 0.003
    out_of_band_s: float = 0.013
    at_event_s: float = 0.029
    keepalive_s: float = 7200 + 9 * 75
    give_up_s: float = 924.6
    pin_s: float = 10.0
    ack_delay_s: float = 0.04


@dataclass(frozen=True)
class Conduct:
    """A policy, its delays, and the bound of healing; None: nothing is healed."""

    policy: ResetPolicy
    delays: Delays = Delays()
    heal_within_s: float | None = None

    @property
    def freed_after_s(self) -> float | None:
        """From a stray until its owner is free; None if nobody tells the owner."""
        return {
            Travel.TO_CLIENT: None,
            Travel.OUT_OF_BAND: self.delays.out_of_band_s,
        }.get(self.policy.travel, self.delays.copy_s)
