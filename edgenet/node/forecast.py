"""How long a round takes: a star of workers around one server, as pure functions.

A worker computes, sends, waits for the server and computes on; the server waits for all workers of
a step. Sends to and from different workers go side by side, as their links do, unless they share a
medium, whose time then adds up. No chance and no contention for the host's cores is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgenet.topology.spec import Channel


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One way between a worker and the server."""

    channel: Channel
    """Rate and delay."""
    medium: str | None = None
    """Name of the shared medium that its bytes occupy; None = it has its rate to itself."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What one worker does in a step, in seconds of its own device."""

    before_s: float
    """Computing until it sends (forward)."""
    up_bytes: int
    """What it sends."""
    down_bytes: int
    """What it is sent back."""
    after_s: float
    """Computing after that, until it can begin the next step (backward, optimizer)."""
    up: Leg
    down: Leg


def transfer_s(nbytes: int, leg: Leg, sharing: int = 1) -> float:
    """Seconds until the last byte is there: serialisation at the rate, or a part of it that
    `sharing` senders leave each, and propagation."""
    return nbytes * 8 * sharing / leg.channel.rate_bps + leg.channel.delay_s


def step_s(workers: Sequence[Worker], server_s: float, server_after_s: float = 0.0) -> float:
    """Seconds from one step's begin to the next one's, in the steady state.

    Args:
        workers: all that take part.
        server_s: the server's computing between the last arrival and its answer.
        server_after_s: its computing after that, while the workers go on without it.
    """
    sharing = _sharing(workers)
    turns = [
        worker.before_s
        + transfer_s(worker.up_bytes, worker.up, sharing.get(worker.up.medium, 1))
        + transfer_s(worker.down_bytes, worker.down, sharing.get(worker.down.medium, 1))
        + worker.after_s
        for worker in workers
    ]
    return server_s + max(max(turns, default=0.0), server_after_s)


def _sharing(workers: Sequence[Worker]) -> Mapping[str | None, int]:
    """How many workers' bytes occupy each shared medium."""
    media = [worker.up.medium for worker in workers]
    return {medium: media.count(medium) for medium in media if medium is not None}
