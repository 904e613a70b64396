"""What a network does to packets, on all of its ways at once, before the nodes are there.

Jitter and loss are read off small packets, which hardly load a link, so all ways are tried
together. Over a lossy way the rate is measured here too, way by way: there TCP's own rate tells of
its reaction to losses and not of the link.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from edgenet.shaping.asked import MTU_BYTES, Asked
from edgenet.shaping.measure import Beam
from edgenet.shaping.network import Network

_SMALL = 64
_SPREAD_S, _LOSS_S = 0.8, 0.8  # that the two parts may take
_MOST_SPREAD, _LEAST_SPREAD = 30, 8
_MOST_LOSS = 1000
_MOST_AT_ALL = 12_000  # packets: sending one takes this process about 10 us
_LOAD = 0.25  # part of a capacity that the packets may take
_QUIET_S = 0.2  # beyond the longest delay: what has not come by then is lost
_BURST_S = 0.15
_LEAST_BURST, _MOST_BURST = 20, 300


@dataclass(frozen=True, kw_only=True)
class Packets:
    """What was found on one way."""

    jitter_s: float | None
    """Half-width of the variation; None: too few packets arrived."""
    loss: float
    """Part that did not arrive."""
    rate_bps: float | None
    """Of full packets; None: not measured here."""
    spread: int
    """Packets that the jitter was taken from."""
    sent: int
    """Packets that the loss was taken from."""


def packets(network: Network, ways: Sequence[Asked]) -> list[Packets]:
    """Try every way; bounded by about three seconds and the ways' own delays."""
    delay_s = max((way.channel.delay_s + way.jitter_s for way in ways), default=0.0)
    quiet_s = delay_s + _QUIET_S
    with ExitStack() as stack:
        beams = [stack.enter_context(Beam(network, way.source, way.target)) for way in ways]
        _send(beams, [_spread_times(way) for way in ways], quiet_s)
        jitters = [_jitter_s(beam) for beam in beams]
        spreads = [len(beam.arrivals) for beam in beams]
        for beam in beams:
            beam.start_again(0.0)
        _send(beams, [_loss_times(way, len(ways)) for way in ways], quiet_s)
        losses = [(1 - len(beam.arrivals) / max(1, beam.sent), beam.sent) for beam in beams]
        rates = [_rate_bps(beam, way, quiet_s) for beam, way in zip(beams, ways, strict=True)]
    return [
        Packets(jitter_s=jitter, loss=loss, rate_bps=rate, spread=spread, sent=sent)
        for jitter, spread, (loss, sent), rate in zip(jitters, spreads, losses, rates, strict=True)
    ]


def _send(beams: Sequence[Beam], times: Sequence[Sequence[float]], quiet_s: float) -> None:
    """One packet of each beam at each of its times (in seconds from now), and take them all."""
    events = sorted((at, i) for i, each in enumerate(times) for at in each)
    start = time.monotonic()
    for at, i in events:
        left_s = start + at - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        beams[i].send(1, _SMALL)
    end = time.monotonic() + quiet_s
    for beam in beams:
        beam.receive(max(0.0, end - time.monotonic()))


def _spread_times(way: Asked) -> list[float]:
    """Far enough apart that no packet has to wait for the one before it."""
    gap_s = 2 * way.jitter_s + max(0.01, 4 * _SMALL * 8 / way.channel.rate_bps)
    count = max(_LEAST_SPREAD, min(_MOST_SPREAD, int(_SPREAD_S / gap_s)))
    return [i * gap_s for i in range(count)]


def _loss_times(way: Asked, ways: int) -> list[float]:
    most = _LOAD * way.channel.rate_bps / ways * _LOSS_S / (_SMALL * 8)
    count = max(10, int(min(_MOST_LOSS, _MOST_AT_ALL / ways, most)))
    return [i * _LOSS_S / count for i in range(count)]


def _jitter_s(beam: Beam) -> float | None:
    """Of uniform delays the ninth decile and the first are 1.6 half-widths apart; what a busy host
    does to single packets lies outside."""
    delays = beam.delays_s()
    if len(delays) < _LEAST_SPREAD:
        return None
    deciles = statistics.quantiles(delays, n=10, method="inclusive")
    return (deciles[8] - deciles[0]) / 1.6


def _rate_bps(beam: Beam, way: Asked, quiet_s: float) -> float | None:
    rate = way.channel.rate_bps
    if not way.loss or way.loss >= 1 or math.isinf(rate):
        return None
    count = int(max(_LEAST_BURST, min(_MOST_BURST, rate * _BURST_S / (8 * MTU_BYTES))))
    found: list[float] = []
    for _ in range(3):
        beam.start_again(0.0)
        beam.send(count)
        beam.receive(quiet_s)
        found += _rate_of(beam)
    return statistics.median(found) if found else None


def _rate_of(beam: Beam) -> Iterator[float]:
    if len(beam.arrivals) >= _LEAST_BURST // 2:
        yield beam.rate_bps()
