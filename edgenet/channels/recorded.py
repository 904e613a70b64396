"""Links that follow a recording (Mahimahi's format: edgenet.topology.traces)."""

from __future__ import annotations

from edgenet.topology.spec import Trace
from edgenet.topology.traces import LEAST_BPS, PACKET_BITS


def mean_bps(trace: Trace) -> float:
    """What the recording delivers on average."""
    return sum(trace.packets) * PACKET_BITS / trace.period_s


def rates_bps(trace: Trace) -> tuple[float, ...]:
    """The rate of each interval, never below LEAST_BPS.

    An interval in which nothing can be delivered would hold up a back end's transmitter for ever;
    what the least rate delivers too much there is taken from the intervals that follow, so that
    the whole is right.
    """
    interval_s, debt_bits, rates = trace.interval_s, 0.0, []
    least_bits = LEAST_BPS * interval_s
    for packets in trace.packets:
        bits = max(least_bits, packets * PACKET_BITS - debt_bits)
        debt_bits += bits - packets * PACKET_BITS
        rates.append(bits / interval_s)
    return tuple(rates)
