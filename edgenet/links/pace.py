"""What holds back the frames of a link that is emulated by the link itself."""

from __future__ import annotations

import threading
import time
from typing import Protocol

_LOOK_S = 0.2
"""How often a frame that is held asks anew: a person may have changed the link (edgenet watch)."""


class Pace(Protocol):
    """Says when a frame would have arrived over a slower channel."""

    @property
    def queue_bytes(self) -> int:
        """Bytes that may wait before `send` is held back."""

    def deliver_at(self, nbytes: int, queued_at: float) -> float:
        """When (time.monotonic) a frame queued at `queued_at` is to be handed over; inf: never."""

    def again(self) -> float:
        """The same for the latest frame, as far as is known now."""

    def cut(self, now: float) -> bool:
        """Whether nothing gets through at this time (time.monotonic), not even a beat."""


def hold(pace: Pace, nbytes: int, queued_at: float, abandoned: threading.Event) -> None:
    """Wait until a frame of `nbytes` is to be handed over, or the link is abandoned."""
    until = pace.deliver_at(nbytes, queued_at)
    while (wait_s := until - time.monotonic()) > 0:
        if abandoned.wait(min(wait_s, _LOOK_S)):
            return
        until = pace.again()
