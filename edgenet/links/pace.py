"""What holds back the frames of a link that is emulated by the link itself."""

from __future__ import annotations

from typing import Protocol


class Pace(Protocol):
    """Says when a frame would have arrived over a slower channel."""

    @property
    def queue_bytes(self) -> int:
        """Bytes that may wait before `send` is held back."""

    def deliver_at(self, nbytes: int, queued_at: float) -> float:
        """When (time.monotonic) a frame queued at `queued_at` is to be handed over; inf: never."""

    def cut(self, now: float) -> bool:
        """Whether nothing gets through at this time (time.monotonic), not even a beat."""
