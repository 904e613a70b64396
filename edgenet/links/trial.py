"""Two ends of a link measure it: round trips, and the rate of each direction.

One end leads, the other follows; both know how much is to be sent. A rate is what arrives, by the
receiving end's clock, from the end of TCP's slow start on. No more than a window of messages
is ever on its way, so that a link that is far slower than it should be is known to be so in time.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from edgenet.links.protocol import Kind, Link
from edgenet.shaping.asked import Stream

_LEAST_MARKS = 4
_CREDIT = 4
"""So many messages are acknowledged at once; a window holds at least twice as many."""
_SPENT_BYTES = 128
"""Header, descriptors and padding of a message with one tensor."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard a link is tried; the same at both ends."""

    pings: int
    """Round trips to take the median of."""
    there: Stream
    """From the leading end to the following one."""
    back: Stream
    patience_s: float
    """How long any one message is waited for."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured, once."""

    round_trip_s: float
    there_bps: float
    back_bps: float


def lead(link: Link, effort: Effort) -> Figures:
    """Measure.

    Raises:
        LinkError: the other end is gone, or a message did not come in time.
    """
    return Figures(
        round_trip_s=statistics.median([_ping(link, effort) for _ in range(effort.pings)]),
        there_bps=_pour(link, effort.there, effort.patience_s),
        back_bps=_drain(link, effort.back, effort.patience_s),
    )


def follow(link: Link, effort: Effort, first: int) -> None:
    """Take part in what the other end leads. `first` is its first message. Raises as `lead`."""
    link.send(first, kind=Kind.PROBE)
    for _ in range(effort.pings - 1):
        link.send(link.recv(timeout_s=effort.patience_s), kind=Kind.PROBE)
    _drain(link, effort.there, effort.patience_s)
    _pour(link, effort.back, effort.patience_s)


def _ping(link: Link, effort: Effort) -> float:
    start = time.monotonic()
    link.send(1, kind=Kind.PROBE)
    link.recv(timeout_s=effort.patience_s)
    return time.monotonic() - start


def _pour(link: Link, stream: Stream, patience_s: float) -> float:
    """Fill one direction; returns its rate, as the other end saw it."""
    chunk = torch.zeros(stream.chunk_bytes, dtype=torch.uint8)
    end, sent, taken = time.monotonic() + stream.seconds, 0, 0
    while sent < 2 * _LEAST_MARKS or time.monotonic() < end:
        link.send(chunk, kind=Kind.PROBE)
        sent += 1
        if sent - taken >= stream.window:
            link.recv(timeout_s=patience_s)
            taken += _CREDIT
    link.send(0, kind=Kind.PROBE)
    for _ in range((sent - taken) // _CREDIT):
        link.recv(timeout_s=patience_s)
    return float(link.recv(timeout_s=patience_s))


def _drain(link: Link, stream: Stream, patience_s: float) -> float:
    """Take what the other end pours; tells it the rate, and returns it."""
    marks = []
    while isinstance(link.recv(timeout_s=patience_s), torch.Tensor):
        marks.append(time.monotonic())
        if len(marks) % _CREDIT == 0:
            link.send(_CREDIT, kind=Kind.PROBE)
    rate_bps = _rate_bps(marks, stream)
    link.send(rate_bps, kind=Kind.PROBE)
    return rate_bps


def _rate_bps(marks: list[float], stream: Stream) -> float:
    after = [mark for mark in marks if mark >= marks[0] + stream.ramp_s]
    kept = after if len(after) >= _LEAST_MARKS else marks[-_LEAST_MARKS:]
    bits = 8 * (len(kept) - 1) * (stream.chunk_bytes + _SPENT_BYTES)
    return bits / max(kept[-1] - kept[0], 1e-9)
