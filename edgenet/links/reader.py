"""Frames to messages: checks, then one allocation, then one copy."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from edgenet.links.frame import HEADER_BYTES, FrameError, Header, Type
from edgenet.links.slabs import Bytes, Slabs
from edgenet.links.wire import Wire


@dataclass(frozen=True)
class Message:
    """A message that has arrived completely; its descriptors are not checked yet."""

    blob: Tensor
    """Header, descriptors and data (uint8, 1-D)."""
    header: Header
    later_bytes: int = 0
    """Bytes of the frames behind its first one."""
    later_s: float = 0.0
    """Seconds from when the first frame was there until all were: what the link delivers, or less
    where the sender was slow. A message of one frame tells nothing."""


class Reader:
    """Assembles the messages of one wire.

    Args:
        wire: where the frames come from.
        slabs: where the memory comes from.
        limit_bytes: the largest message.
    """

    def __init__(self, wire: Wire, slabs: Slabs, limit_bytes: int) -> None:
        self._wire, self._slabs, self._limit_bytes = wire, slabs, limit_bytes
        self.frames = 0
        """Frames read so far; a peer whose frames come is alive."""
        self.goodbye = False
        """Whether the last message was the peer's goodbye."""

    def next(self) -> Message:
        """Wait for the next message.

        Raises:
            FrameError: what came is none.
            WireClosed: nothing will come.
        """
        frame = self._frame()
        begun = time.monotonic()
        header = Header.parse(frame[:HEADER_BYTES].tobytes(), limit_bytes=self._limit_bytes)
        self.goodbye = header.type is Type.GOODBYE
        try:
            blob = self._slabs.take(header.total_bytes)
        except MemoryError:
            raise FrameError(
                f"sent a message of {header.total_bytes} bytes, more than this node has"
            ) from None
        self._fill(blob.numpy(), frame)
        later_bytes = header.total_bytes - min(frame.size, header.total_bytes)
        return Message(blob, header, later_bytes, time.monotonic() - begun if later_bytes else 0.0)

    def _fill(self, target: Bytes, frame: Bytes) -> None:
        at = 0
        while True:
            part = min(target.size - at, self._wire.read_bytes)
            if frame.size < part:
                raise FrameError(f"sent a frame of {frame.size} bytes where {part} were due")
            target[at : at + part] = frame[:part]
            at += part
            if at == target.size:
                return
            frame = self._frame()

    def _frame(self) -> Bytes:
        frame: Bytes = self._wire.read().numpy()
        self.frames += 1
        return frame
