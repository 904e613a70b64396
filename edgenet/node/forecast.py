"""How long a round takes, carried out in thought: nodes compute, and ways hold bytes back.

A step goes through the very pacing of a link (`edgenet.shaping.paced`), so that frames, loss and
jitter, and what of an upload overlaps with computing, come out as they do in a run. Nodes that
compete for this host's cores are not in it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from edgenet.links.sizes import MAX_FRAME_BYTES, ring
from edgenet.shaping.paced import Pacer
from edgenet.topology.spec import Channel

_MOST_STEPS = 60
"""So many steps are gone through; the rest of a round goes on as the last half of them."""


@dataclass
class Medium:
    """Capacity that several ways share: one sender at a time."""

    free_s: float = 0.0
    """When it is next free."""


class Way:
    """One direction between two nodes.

    Args:
        channel: what it does to bytes.
        medium: that its bytes occupy; None = it has its rate to itself.
        message_s: what a message costs besides, in threads that wake each other.
        seed: of jitter and loss.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        medium: Medium | None = None,
        message_s: float = 0.0,
        seed: Hashable = 0,
    ) -> None:
        self._pacer, self._medium, self._message_s = Pacer(channel, seed), medium, message_s
        self._rate_bps = channel.rate_bps
        self._frame_bytes = ring(channel, links=1, budget_bytes=64 * MAX_FRAME_BYTES).frame_bytes

    def arrival_s(self, nbytes: int, at_s: float) -> float:
        """When the last byte of a message is there that is sent at `at_s`."""
        start_s = arrival_s = at_s + self._message_s
        if self._medium is not None:
            start_s = max(start_s, self._medium.free_s)
            self._medium.free_s = start_s + 8 * nbytes / self._rate_bps
        for at in range(0, nbytes, self._frame_bytes):
            size = min(self._frame_bytes, nbytes - at)
            arrival_s = self._pacer.deliver_at(size, start_s)
        return arrival_s


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one node of a chain does in a step, in seconds of its own device."""

    forward_s: float
    """Until its activation (or the loss) is there."""
    backward_s: float
    """From the error that comes back to its own answer."""
    step_s: float
    """After its answer: nobody waits for it but its own next step."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """Between a node of a chain and the one above it."""

    up: Way
    up_bytes: int
    down: Way
    down_bytes: int


class Chain:
    """Nodes of which each waits for the answer of the one above it.

    Args:
        turns: the nodes', from below.
        hops: between them; one less.
    """

    def __init__(self, turns: Sequence[Turn], hops: Sequence[Hop] = ()) -> None:
        self._turns, self._hops = turns, hops
        self._free_s = [0.0] * len(turns)

    @property
    def free_s(self) -> float:
        """When the lowest node can begin its next step."""
        return self._free_s[0]

    def occupy(self, seconds: float, at_s: float) -> float:
        """The lowest node does something else when it is free and `at_s` is over; until when."""
        self._free_s[0] = max(self._free_s[0], at_s) + seconds
        return self._free_s[0]

    def answer_s(self, at_s: float, number: int = 0) -> float:
        """When node `number` has its answer to what came at `at_s`."""
        turn = self._turns[number]
        now = max(at_s, self._free_s[number]) + turn.forward_s
        if number < len(self._hops):
            hop = self._hops[number]
            above_s = self.answer_s(hop.up.arrival_s(hop.up_bytes, now), number + 1)
            now = hop.down.arrival_s(hop.down_bytes, above_s)
        now += turn.backward_s
        self._free_s[number] = now + turn.step_s
        return now


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What one worker does in a step, in seconds of its own device."""

    before_s: float
    """Computing until it sends (forward)."""
    up: Way
    up_bytes: int
    """What it sends."""
    down: Way
    down_bytes: int
    """What it is sent back."""
    after_s: float
    """Computing after that, until it can begin the next step (backward, optimizer)."""
    meanwhile_s: float = 0.0
    """Computing while it waits for the answer."""
    opening_bytes: int = 0
    """What it is sent at the beginning of a round."""
    closing_bytes: int = 0
    """What it sends at the end of a round."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    """Workers whose weights are averaged by the server after a step."""

    steps: Sequence[int]
    """Of each worker: after how many of its steps, the first of them."""
    nbytes: int
    """Its weights; as many come back."""
    copy_s: float
    """A worker's seconds to copy them, before they leave and when they are back."""
    mean_s: float
    """The server's."""

    def made_s(
        self, workers: Sequence[Worker], server: Chain, number: int, ready: Sequence[float]
    ) -> list[float]:
        """When each worker can go on after step `number`, having been `ready` before."""
        theirs = [number < steps for steps in self.steps]
        if not any(theirs):
            return list(ready)
        came = [
            each.up.arrival_s(self.nbytes, at + self.copy_s)
            for each, at, its in zip(workers, ready, theirs, strict=True)
            if its
        ]
        mean_s = server.occupy(self.mean_s, max(came))
        return [
            each.down.arrival_s(self.nbytes, mean_s) + self.copy_s if its else at
            for each, at, its in zip(workers, ready, theirs, strict=True)
        ]


def star_s(workers: Sequence[Worker], server: Chain, steps: int, sync: Sync | None = None) -> float:
    """Seconds of a round of so many steps, from its begin to the next one's.

    Args:
        workers: all that take part. In a step the server waits for all of them.
        server: what it does between the last upload and its answers, and after them.
        steps: how many.
        sync: what happens between the steps.
    """
    ready = [0.0] * len(workers)
    half_s, done = 0.0, min(steps, _MOST_STEPS)
    for number in range(done):
        sent = [at + each.before_s for at, each in zip(ready, workers, strict=True)]
        there = [
            each.up.arrival_s(each.up_bytes, at) for at, each in zip(sent, workers, strict=True)
        ]
        answer_s = server.answer_s(max(there, default=0.0))
        ready = [
            max(each.down.arrival_s(each.down_bytes, answer_s), at + each.meanwhile_s)
            + each.after_s
            for at, each in zip(sent, workers, strict=True)
        ]
        if sync is not None:
            ready = sync.made_s(workers, server, number, ready)
        if 2 * (number + 1) <= done:
            half_s = server.free_s
    end_s = _closed_s(workers, server, ready)
    if steps > done:
        end_s += (steps - done) * (server.free_s - half_s) / (done - done // 2)
    return end_s


def _closed_s(workers: Sequence[Worker], server: Chain, ready: Sequence[float]) -> float:
    """When all workers can begin the next round."""
    closed = [
        each.up.arrival_s(each.closing_bytes, at)
        for at, each in zip(ready, workers, strict=True)
        if each.closing_bytes
    ]
    end_s = max([server.free_s, *closed])
    opened = [
        each.down.arrival_s(each.opening_bytes, end_s) for each in workers if each.opening_bytes
    ]
    return max([end_s, *ready, *opened])


def chain_s(chain: Chain, steps: int) -> float:
    """Seconds of so many steps of a chain that feeds itself."""
    half_s, done = 0.0, min(steps, _MOST_STEPS)
    for number in range(done):
        chain.answer_s(chain.free_s)
        if 2 * (number + 1) <= done:
            half_s = chain.free_s
    rest_s = (steps - done) * (chain.free_s - half_s) / max(1, done - done // 2)
    return chain.free_s + rest_s
