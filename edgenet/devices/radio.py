"""What a device's radio draws, on top of the device.

Huang, Qian, Gerber, Mao, Sen, Spatscheck: "A close examination of performance and power
characteristics of 4G LTE networks", MobiSys 2012, section 5 and Table 4. Measured on phones:
P = alpha_u t_u + alpha_d t_d + beta, with t_u and t_d the throughput up and down. So alpha is an
energy per byte, and beta is drawn for as long as anything is under way:

             alpha_u (mW/Mbps)  alpha_d (mW/Mbps)  beta (mW)
    LTE      438.39             51.97              1288.04
    WiFi     283.17             137.01             132.86

beta is charged for the seconds in which a node sends or waits for a message. LTE's radio stays up
for a further 11.6 s (1060 mW) after the last packet; that tail is not in the model, so nodes that
compute for seconds between two messages come off a little too well. A cable's interface draws the
same whether it sends or not; it is part of the idle power. So is the radio of a base station.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_BITS_PER_BYTE = 8


@dataclass(frozen=True, kw_only=True)
class Radio:
    """One kind of radio, in a member of a cell."""

    active_w: float
    """Watts while anything is sent, received or waited for."""
    up_j_per_byte: float
    """Joules for each byte that is sent."""
    down_j_per_byte: float
    """Joules for each byte that is received."""
    source: str
    """Where the numbers come from."""


def _huang(up_mw_per_mbps: float, down_mw_per_mbps: float, base_mw: float) -> Radio:
    """A row of the table above: 1 mW/Mbps is 1 nJ/bit."""
    return Radio(
        active_w=base_mw * 1e-3,
        up_j_per_byte=up_mw_per_mbps * 1e-9 * _BITS_PER_BYTE,
        down_j_per_byte=down_mw_per_mbps * 1e-9 * _BITS_PER_BYTE,
        source="Huang et al., MobiSys 2012, Table 4",
    )


RADIOS: Mapping[str, Radio] = {
    "lte": _huang(438.39, 51.97, 1288.04),
    "wifi": _huang(283.17, 137.01, 132.86),
}
"""By the family of the link that the node is a member of (`links.<name>.lte`, `.wifi`)."""
