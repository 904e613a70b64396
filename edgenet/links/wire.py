"""What carries frames between exactly two nodes; everything else about a link stands above it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

ABRUPT = "closed the connection without a goodbye (killed, or crashed)"


class WireClosed(Exception):
    """The other end is gone, or this end was closed. The text says which, as a clause about the
    peer ('closed the connection')."""


class Wire(Protocol):
    """An ordered, reliable, two-way pipe of frames: one thread may write while another reads.

    A wire does not tell how long a frame is: the header of a message says how many bytes follow,
    and every frame of a message but its last is as long as the receiving end's `read_bytes`.
    """

    write_bytes: int
    """The largest frame that the peer is ready to receive."""
    read_bytes: int
    """The largest frame that this end is ready to receive."""

    def write(self, frame: Tensor) -> None:
        """Hand one frame (uint8, 1-D, at most `write_bytes`) to the transport, which may keep a
        few in flight: the frame must not be changed before `flush` has returned. Blocks while
        too many are in flight. Raises WireClosed."""

    def ready(self) -> bool:
        """Whether a `write` now would not block."""

    def flush(self) -> None:
        """Wait until the transport needs no written frame any more. Raises WireClosed."""

    def read(self) -> Tensor:
        """The next frame (uint8, 1-D, perhaps with stale bytes behind its end): a view that is
        valid until the next `read`. Blocks without end; the link above knows from the peer's
        beats whether waiting is worth while. Raises WireClosed."""

    def beat(self) -> None:
        """Tell the peer that this process is alive. Apart from the frames, never blocks."""

    def heard(self) -> int:
        """How often the peer has beaten since the last call; -1 once its end is closed. Never
        blocks."""

    def close(self) -> None:
        """Release the transport; a blocked `read` or `write` raises WireClosed. Closing twice is
        harmless."""
