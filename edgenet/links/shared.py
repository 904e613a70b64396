"""What all links of one node have in common."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgenet.devices.clock import DeviceClock
from edgenet.links.codec import Packet, encode
from edgenet.links.frame import DEFAULT_MESSAGE_BYTES
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.meter import Meter
from edgenet.links.protocol import Item, Kind
from edgenet.links.slabs import Slabs
from edgenet.meters.journal import Journal

_MIB = 1024 * 1024
_SHORT_S = 1e-4
"""Waits below this are not worth a line in the journal."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a link holds before it makes somebody wait."""

    outbox_bytes: int = 32 * _MIB
    """Encoded messages that wait to be sent; beyond it `send` blocks. One message of any size is
    always taken. Under pacing the channel's `queue_bytes` stands in its place."""
    inbox_bytes: int = 32 * _MIB
    """Received messages that wait to be taken; beyond it the link stops reading, so that the peer
    is held back. One message of any size is always taken."""
    message_bytes: int = DEFAULT_MESSAGE_BYTES
    """The largest message that may be announced to this node."""
    linger_s: float = 10.0
    """How long `close` waits, after the last byte it could send, for the peer's goodbye."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """One per node: everything its links report to and draw from."""

    journal: Journal = field(default_factory=Journal)
    """Gets the waits and the faults; its round is written into every message."""
    meter: Meter = field(default_factory=Meter)
    """Counts the bytes."""
    heartbeat: Heartbeat | None = None
    """Beats on all links; None: nobody ever counts as silent (threads of one process)."""
    clock: DeviceClock = field(default_factory=DeviceClock)
    """The node's device: nothing leaves, and nobody is waited for, before it has done its work."""
    limits: Limits = Limits()
    slabs: Slabs = field(default_factory=Slabs)
    sequence: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Numbers the messages of this node over all its links, so that a broadcast is encoded once."""

    def encode(self, items: tuple[Item, ...], kind: Kind) -> Packet:
        """Copy `items` into a packet of the current round, once the device has got so far."""
        self.settle()
        return encode(
            items,
            kind,
            round_=self.journal.round,
            sequence=next(self.sequence),
            slabs=self.slabs,
        )

    def settle(self) -> None:
        """Wait for the node's device."""
        self.clock.settle(self.journal)

    def note_wait(self, kind: str, name: str, start: float, **fields: str) -> None:
        """Record a span that began at `start` (time.monotonic) and ends now, if it is worth it."""
        took = time.monotonic() - start
        if took > _SHORT_S:
            at = round(self.journal.now() - took, 6)
            self.journal.event("span", k=kind, n=name, t=at, d=round(took, 6), **fields)
