"""How large a link's frames are and how many it keeps posted.

A frame of a slow link takes about 50 ms to serialise: small enough to keep several in flight, so
that nobody waits for a whole message to pass one hop, and large enough that the transport's own 48
bytes for it do not count. Never less than 16 KiB, unless that took longer than a second: a peer
that hears no complete frame for seconds would think this one frozen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgenet.topology.spec import Channel

KIB = 1024
MAX_FRAME_BYTES = 1024 * KIB
"""Loopback: 2.3 GB/s with frames of 1 MiB, 1.3 GB/s with 256 KiB."""
_USUAL_LEAST_BYTES = 16 * KIB
_LEAST_BYTES = KIB
_FRAME_S = 0.05
_LONGEST_FRAME_S = 1.0
_DEPTH = 8
_LEAST_DEPTH = 4
_MOST_DEPTH = 64


@dataclass(frozen=True, kw_only=True)
class Ring:
    """The receive buffers of one end of a link."""

    frame_bytes: int
    """Size of each; the largest frame that the peer may send."""
    depth: int
    """How many are posted ahead."""


def ring(channel: Channel, *, links: int, budget_bytes: int) -> Ring:
    """The ring for what arrives over `channel`, one of `links` rings that share `budget_bytes`.

    It holds what is under way during a round trip and 100 ms more, within the budget.
    """
    share = budget_bytes // max(1, links)
    frame = _power_of_two(min(_wanted_bytes(channel.rate_bps), share // _LEAST_DEPTH))
    depth = _DEPTH
    if math.isfinite(channel.rate_bps):
        in_flight = channel.rate_bps / 8 * (2 * (channel.delay_s + channel.jitter_s) + 0.1)
        depth = max(depth, min(_MOST_DEPTH, math.ceil(in_flight / frame) + 2))
    return Ring(frame_bytes=frame, depth=max(_LEAST_DEPTH, min(depth, share // frame)))


def _wanted_bytes(rate_bps: float) -> int:
    if math.isinf(rate_bps):
        return MAX_FRAME_BYTES
    usual = max(_USUAL_LEAST_BYTES, min(MAX_FRAME_BYTES, int(rate_bps / 8 * _FRAME_S)))
    return min(usual, int(rate_bps / 8 * _LONGEST_FRAME_S))


def _power_of_two(nbytes: int) -> int:
    """The largest power of two up to `nbytes`, and no less than 1 KiB."""
    return max(_LEAST_BYTES, 1 << max(0, nbytes).bit_length() - 1 if nbytes > 0 else 0)
