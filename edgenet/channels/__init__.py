"""What a link does to the bytes that cross it: profiles and channel models as pure functions.

channel(link, source, target, topology)   one direction of one hop
compose(channels)                         several hops, one after the other
between(topology, a, b)                   the whole way from a to b
"""

from edgenet.channels.paths import between, channel, check, compose, half_duplex

__all__ = ["between", "channel", "check", "compose", "half_duplex"]
