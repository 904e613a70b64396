"""Counts what crosses a node's links: payload and overhead apart."""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict
from dataclasses import dataclass

from edgenet.links.protocol import Kind
from edgenet.meters.journal import Journal


@dataclass
class Count:
    """What crossed one link in one direction, of one kind in one round."""

    payload: int = 0
    """Bytes of the items' data."""
    overhead: int = 0
    """Bytes of headers, descriptors, padding, handshakes and heartbeats. What gloo (48 bytes a
    frame) and TCP/IP (52 a packet) put around them is only seen at the interface."""
    messages: int = 0
    copied_payload: int = 0
    """Part of `payload` that had crossed the same medium already, to another peer: sockets have no
    broadcast. A radio would have sent it once."""
    copied_overhead: int = 0
    """Part of `overhead`, likewise."""
    later_bytes: int = 0
    """Of messages of several frames that came: the bytes behind the first frame."""
    later_s: float = 0.0
    """Seconds that these took. Together they tell what the link delivered."""

    def add(self, other: Count) -> None:
        """Grow by `other`."""
        for each in dataclasses.fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Meter:
    """The counters of all links of one node. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[int, str, str, Kind], Count] = defaultdict(Count)
        self._totals: defaultdict[tuple[str, str], int] = defaultdict(int)

    def add(self, peer: str, direction: str, kind: Kind, round_: int, count: Count) -> None:
        """Count something that crossed; `direction` is 'out' or 'in'."""
        with self._lock:
            self._counts[round_, peer, direction, kind].add(count)
            self._totals[peer, direction] += count.payload + count.overhead

    def write(self, journal: Journal) -> None:
        """Append `bytes` events for everything counted since the last call, under the rounds in
        which the messages were sent. Events of one round add up."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(Count)
        for (round_, peer, direction, kind), count in sorted(
            counts.items(), key=lambda entry: (*entry[0][:3], entry[0][3].value)
        ):
            found = dataclasses.asdict(count)
            if not count.copied_payload + count.copied_overhead:
                del found["copied_payload"], found["copied_overhead"]
            if not count.later_bytes:
                del found["later_bytes"], found["later_s"]
            else:
                found["later_s"] = round(count.later_s, 6)
            journal.event("bytes", r=round_, peer=peer, dir=direction, k=kind.value, **found)

    def totals(self) -> dict[tuple[str, str], int]:
        """Bytes since the start by (peer, 'out' or 'in'), for a live view."""
        with self._lock:
            return dict(self._totals)
