"""Links inside one process: the same engine over queues instead of sockets."""

from __future__ import annotations

import threading
from collections import deque

from torch import Tensor

from edgenet.links.link import WireLink
from edgenet.links.pace import Pace
from edgenet.links.shared import Shared
from edgenet.links.wire import WireClosed

FRAME_BYTES = 1024 * 1024
_DEPTH = 8


class _Pipe:
    """One direction: a few frames, beats, and whether it is cut."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.frames: deque[Tensor] = deque()
        self.beats = 0
        self.cut: str | None = None


class MemoryWire:
    """One end of a pair of queues. Frames are handed over without a copy: packets never change."""

    def __init__(self, out: _Pipe, back: _Pipe, frame_bytes: int = FRAME_BYTES) -> None:
        self.write_bytes = self.read_bytes = frame_bytes
        self._out, self._back = out, back

    def write(self, frame: Tensor) -> None:
        """Queue a frame for the peer; blocks while `_DEPTH` are queued."""
        with self._out.changed:
            self._out.changed.wait_for(lambda: self._out.cut or len(self._out.frames) < _DEPTH)
            if self._out.cut:
                raise WireClosed(self._out.cut)
            self._out.frames.append(frame)
            self._out.changed.notify_all()

    def ready(self) -> bool:
        """Whether the queue has room."""
        with self._out.changed:
            return len(self._out.frames) < _DEPTH

    def flush(self) -> None:
        """Nothing to wait for: the peer's queue keeps what it needs alive."""

    def read(self) -> Tensor:
        """The next frame from the peer; what was queued before a cut still comes."""
        with self._back.changed:
            self._back.changed.wait_for(lambda: self._back.cut or self._back.frames)
            if not self._back.frames:
                raise WireClosed(self._back.cut or "")
            frame = self._back.frames.popleft()
            self._back.changed.notify_all()
            return frame

    def beat(self) -> None:
        """Count one beat for the peer to hear."""
        with self._out.changed:
            self._out.beats += 1

    def heard(self) -> int:
        """How often the peer has beaten since the last call."""
        with self._back.changed:
            beats, self._back.beats = self._back.beats, 0
            return beats

    def close(self) -> None:
        """Cut both directions."""
        for pipe in (self._out, self._back):
            with pipe.changed:
                pipe.cut = pipe.cut or "closed the connection"
                pipe.changed.notify_all()


def wires(frame_bytes: int = FRAME_BYTES) -> tuple[MemoryWire, MemoryWire]:
    """Both ends of a wire."""
    there, back = _Pipe(), _Pipe()
    return MemoryWire(there, back, frame_bytes), MemoryWire(back, there, frame_bytes)


def link_pair(
    names: tuple[str, str],
    shared: tuple[Shared, Shared],
    *,
    paces: tuple[Pace | None, Pace | None] = (None, None),
    frame_bytes: int = FRAME_BYTES,
) -> tuple[WireLink, WireLink]:
    """A link between two nodes of this process, as seen by each.

    Args:
        names: the nodes.
        shared: what each node's links have in common.
        paces: holds back what each node sends; None: nothing.
        frame_bytes: size of the frames, in both directions.
    """
    left, right = wires(frame_bytes)
    return (
        WireLink(names[0], names[1], left, shared[0], pace=paces[0]).start(),
        WireLink(names[1], names[0], right, shared[1], pace=paces[1]).start(),
    )
