"""What carries frames between exactly two nodes; everything else about a link stands above it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class WireClosed(Exception):
    """The other end is gone, or this end was closed. The text says which and why."""


class Wire(Protocol):
    """An ordered, reliable, two-way pipe of frames: one thread may write while another reads."""

    write_bytes: int
    """The largest frame that the peer is ready to receive."""

    def write(self, frame: Tensor) -> None:
        """Hand one frame (uint8, 1-D, at most `write_bytes`) to the transport; blocks until the
        frame's memory may be used again. Raises WireClosed."""

    def read(self) -> Tensor:
        """The next frame (uint8, 1-D): a view that is valid until the next `read`. Blocks without
        end; the link above knows from heartbeats whether waiting is worth while. Raises
        WireClosed."""

    def close(self) -> None:
        """Release the transport; a blocked `read` or `write` raises WireClosed."""
