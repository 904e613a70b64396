"""Ethernet and WiFi by name: rate, delay, jitter and loss, each with its source.

WiFi rates are TCP throughput at close range for one station that has the air to itself; stations
share it (half duplex). Where no measurement of a standard is at hand, the rate is the PHY rate
times MAC_EFFICIENCY, and the result is compared with a published range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgenet.topology.spec import Channel

MAC_EFFICIENCY = 46.7 / 72.2
"""TCP throughput per PHY rate: the Raspberry Pi 3 B+ reaches 46.7 Mbit/s (raspberrypi.com,
'Raspberry Pi 3 Model B+ on sale now', 2018) on one 20 MHz stream at 72.2 Mbit/s (802.11n MCS 7,
short guard interval)."""

WIFI_LOSS = 0.1**7
"""Loss that is left above the MAC: one frame in ten fails (the usual target of rate control), and
a frame is sent up to seven times (dot11ShortRetryLimit, IEEE 802.11)."""

ETHERNET_DELAY_S = 0.5e-3
"""One way between two hosts' sockets through one switch. An estimate for small boards: wire and
switch take under 0.05 ms, the rest is interrupt handling and the network stack."""


@dataclass(frozen=True, kw_only=True)
class Wifi:
    """One WiFi profile."""

    phy_bps: float
    """PHY rate of the best modulation, from the standard's MCS table."""
    rate_bps: float
    """TCP throughput."""
    delay_s: float
    """One way, on an idle network."""
    jitter_s: float
    """Half-width of its variation, on an idle network."""
    source: str
    """Where the rate comes from."""


_IDLE_2G, _IDLE_5G = (1.5e-3, 1e-3), (1e-3, 0.5e-3)
"""Delay and jitter of an idle network: estimates, from pings of 2 to 4 ms there and back. A busy
network is far worse: over half of the packets waited more than 20 ms in Pei et al., INFOCOM 2016,
'WiFi can be the weakest link of round trip network latency in the wild'; set `delay:` for that."""

WIFI: Mapping[str, Wifi] = {
    "802.11n-2.4GHz": Wifi(
        phy_bps=72.2e6, rate_bps=46.7e6, delay_s=_IDLE_2G[0], jitter_s=_IDLE_2G[1],
        source="20 MHz, one stream: measured on the Raspberry Pi 3 B+ (its launch note, 2018)",
    ),
    "802.11n-5GHz": Wifi(
        phy_bps=150e6, rate_bps=150e6 * MAC_EFFICIENCY, delay_s=_IDLE_5G[0], jitter_s=_IDLE_5G[1],
        source="40 MHz, one stream, MCS 7: PHY rate x MAC_EFFICIENCY",
    ),
    "802.11ac-board": Wifi(
        phy_bps=433.3e6, rate_bps=102e6, delay_s=_IDLE_5G[0], jitter_s=_IDLE_5G[1],
        source="80 MHz, one stream: measured on the Raspberry Pi 3 B+ (its launch note, 2018); "
        "bound by the board, not by the air",
    ),
    "802.11ac": Wifi(
        phy_bps=866.7e6, rate_bps=866.7e6 * MAC_EFFICIENCY, delay_s=_IDLE_5G[0],
        jitter_s=_IDLE_5G[1],
        source="80 MHz, two streams: PHY rate x MAC_EFFICIENCY; duckware.com/tech/wifi-in-the-us "
        "finds about 600 Mbit/s (+- 60) at best",
    ),
}  # fmt: skip


def wifi(profile: str) -> Channel:
    """The channel of a WiFi profile; KeyError if there is none of that name."""
    found = WIFI[profile]
    return Channel(
        rate_bps=found.rate_bps, delay_s=found.delay_s, jitter_s=found.jitter_s, loss=WIFI_LOSS
    )


def ethernet(line_bps: float) -> Channel:
    """The channel of a switched full-duplex Ethernet (100 Mbit, 1 Gbit, ...) at its line rate."""
    return Channel(rate_bps=line_bps, delay_s=ETHERNET_DELAY_S)
