"""Counts bytes once per message, although both ends of a link wrote them down.

Per direction and kind the sender's figure stands. A sender that was killed took the figures of its
last round with it; what the receiver saw of it beyond the sender's own total is added, under the
round after the last one that the sender reported (the two ends may be in different rounds when a
message passes, so rounds are never compared across them).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgenet.results.events import Event

EVALUATION = "evaluation"
"""The kind of messages that only the testbed needs; no part of a scheme's cost."""

PROBE = "probe"
"""The kind of messages that measure the links before the run; no part of its cost either."""

APART = (EVALUATION, PROBE)

LOST = -1
"""In place of a round: bytes of rounds that were computed again."""


@dataclass
class Volume:
    """An amount of traffic."""

    payload: int = 0
    """Bytes of tensors and values."""
    overhead: int = 0
    """Bytes of headers, heartbeats and handshakes."""
    messages: int = 0

    @property
    def total(self) -> int:
        """Payload and overhead."""
        return self.payload + self.overhead

    def add(self, other: Volume) -> None:
        """Grow by `other`."""
        self.payload += other.payload
        self.overhead += other.overhead
        self.messages += other.messages

    def beyond(self, other: Volume) -> Volume:
        """What this has and `other` has not."""
        return Volume(
            max(0, self.payload - other.payload),
            max(0, self.overhead - other.overhead),
            max(0, self.messages - other.messages),
        )

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {
            "total": self.total,
            "payload": self.payload,
            "overhead": self.overhead,
            "messages": self.messages,
        }


@dataclass(frozen=True)
class Flow:
    """One kind of messages in one direction."""

    sender: str
    receiver: str
    kind: str
    """As in edgenet.links.protocol.Kind."""


class Ledger:
    """Gathers `bytes` events of all nodes."""

    def __init__(self) -> None:
        self._sent: dict[Flow, dict[int, Volume]] = {}
        self._received: dict[Flow, Volume] = {}
        self._lost: dict[Flow, Volume] = {}
        self._last_round: dict[str, int] = {}
        self._copied = Volume()

    def add(self, event: Event) -> None:
        """Take in one `bytes` event."""
        peer, kind = event.text("peer"), event.text("k", "control")
        volume = Volume(event.count("payload"), event.count("overhead"), event.count("messages"))
        if event.text("dir") == "out":
            rounds = self._sent.setdefault(Flow(event.node, peer, kind), {})
            rounds.setdefault(event.round, Volume()).add(volume)
            self._last_round[event.node] = max(event.round, self._last_round.get(event.node, 0))
            if kind not in APART:
                self._copied.payload += event.count("copied_payload")
                self._copied.overhead += event.count("copied_overhead")
        else:
            self._received.setdefault(Flow(peer, event.node, kind), Volume()).add(volume)

    def repeat(self, node: str, after: int) -> None:
        """What `node` sent after that round was for nothing: it is sent again. It stays in every
        sum, but not in that of a round."""
        for flow, rounds in self._sent.items():
            for number in [number for number in rounds if number > after]:
                if flow.sender == node:
                    self._lost.setdefault(flow, Volume()).add(rounds.pop(number))

    @property
    def lost(self) -> int:
        """Bytes of rounds that were computed again, without evaluation and probe."""
        return sum(volume.total for flow, volume in self._lost.items() if flow.kind not in APART)

    def moved(self, node: str) -> tuple[int, int]:
        """Bytes that a node sent and received for the scheme (not for the testbed alone)."""
        sent = received = 0
        for flow, _, volume in self.flows():
            if flow.kind not in APART:
                sent += volume.total * (flow.sender == node)
                received += volume.total * (flow.receiver == node)
        return sent, received

    def flows(self) -> Iterator[tuple[Flow, int, Volume]]:
        """(flow, round, volume), each byte once; round LOST: it was computed again."""
        for flow, rounds in self._sent.items():
            for number, volume in rounds.items():
                yield flow, number, volume
        for flow, volume in self._lost.items():
            yield flow, LOST, volume
        for flow, received in self._received.items():
            sent = Volume()
            for volume in (*self._sent.get(flow, {}).values(), self._lost.get(flow, Volume())):
                sent.add(volume)
            surplus = received.beyond(sent)
            if surplus.total:
                yield flow, self._last_round.get(flow.sender, -1) + 1, surplus

    def by_round(self) -> dict[int, Volume]:
        """Round -> volume, without evaluation and probe."""
        sums: dict[int, Volume] = {}
        for flow, number, volume in self.flows():
            if flow.kind not in APART and number != LOST:
                sums.setdefault(number, Volume()).add(volume)
        return sums

    def as_dict(self) -> dict[str, object]:
        """The `bytes` of summary.json: total, payload, overhead, messages, per_link, by_kind, all
        without evaluation and probe; and these two, which are counted apart.

        All of this crossed a socket. `on_air` is what of it a medium that can broadcast would have
        carried: a message to several members of one shared medium counts there once."""
        whole, apart = Volume(), {kind: Volume() for kind in APART}
        links: dict[str, Volume] = {}
        kinds: dict[str, Volume] = {}
        for flow, _, volume in self.flows():
            if flow.kind in apart:
                apart[flow.kind].add(volume)
                continue
            whole.add(volume)
            links.setdefault(f"{flow.sender}->{flow.receiver}", Volume()).add(volume)
            kinds.setdefault(flow.kind, Volume()).add(volume)
        return {
            **whole.as_dict(),
            "per_link": {name: links[name].as_dict() for name in sorted(links)},
            "by_kind": {name: kinds[name].as_dict() for name in sorted(kinds)},
            **{kind: volume.as_dict() for kind, volume in apart.items()},
            "on_air": {
                "total": whole.total - self._copied.total,
                "payload": whole.payload - self._copied.payload,
                "overhead": whole.overhead - self._copied.overhead,
            },
        }
