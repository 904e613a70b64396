"""What a link does to the bytes that cross it: profiles and channel models as pure functions.

channel(link, source, target, topology)   one direction of one hop
compose(channels)                         several hops, one after the other
between(topology, a, b)                   the whole way from a to b
Timeline(topology)                        the same over time: events, fading, traces
"""

from edgenet.channels.orders import Orders
from edgenet.channels.paths import between, channel, check, compose, half_duplex
from edgenet.channels.timeline import BEFORE, Course, Timeline
from edgenet.channels.timeline import check as check_events

__all__ = [
    "BEFORE",
    "Course",
    "Orders",
    "Timeline",
    "between",
    "channel",
    "check",
    "check_events",
    "compose",
    "half_duplex",
]
