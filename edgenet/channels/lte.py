"""LTE after FPL, Eq. (3): rate = r B log2(E_h[1 + P h / (I + B N0)]), h = o d^-alpha.

Symbols of the paper (Sec. III): r resource blocks, B the bandwidth of one, P the transmission
power (30 dBm eNB, 10 dBm UE), N0 = -174 dBm/Hz, I interference, d the distance, o Rayleigh fading
(power of mean 1). The expectation stands inside the logarithm, as printed, so fading drops out:
E[h] = d^-alpha. The ergodic form, E[log2(1 + ...)], is what a long transmission really gets
(Jensen: never more); `cap` bounds the spectral efficiency, which real LTE reaches at about
5.5 bit/s/Hz (64-QAM, rate 0.93: 3GPP TS 36.213, CQI 15, 5.55). The paper does not give alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgenet.topology.spec import Channel

BLOCK_HZ = 180e3
"""B: 12 subcarriers of 15 kHz (3GPP TS 36.211)."""

NOISE_W_PER_HZ = 10 ** ((-174 - 30) / 10)
"""N0 = -174 dBm/Hz (FPL, Sec. III): thermal noise at 290 K."""

DELAY_S = 0.010
"""One way, user plane: the bound of ITU-R M.2134 that LTE meets unloaded (3GPP TR 36.912)."""

SHORTEST_M = 1.0
"""The power law says nothing about distances below one metre; they count as one."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The settings of one LTE cell; the defaults are FPL's."""

    bandwidth_hz: float = 20e6
    """Width of the channel; its resource blocks must fit in."""
    resource_blocks: int = 100
    """r: blocks given to one transmission when nobody else sends."""
    down_power_w: float = 1.0
    """P of the eNB: 30 dBm."""
    up_power_w: float = 0.010
    """P of a UE: 10 dBm."""
    interference_w: float = 0.0
    """I, per resource block; the paper gives no number."""
    exponent: float = 4.0
    """alpha: path-loss exponent. Not in the paper; 4 is the two-ray ground model's."""
    cap: float = math.inf
    """Highest spectral efficiency in bit/s/Hz; inf = as printed."""
    ergodic: bool = False
    """True: E[log2(1 + ...)] instead of log2(E[1 + ...])."""

    def __post_init__(self) -> None:
        width = self.resource_blocks * BLOCK_HZ
        if width > self.bandwidth_hz:
            raise ValueError(
                f"{self.resource_blocks} resource blocks of 180 kHz take {width / 1e6:g} MHz, more "
                f"than the bandwidth of {self.bandwidth_hz / 1e6:g} MHz"
            )


def mean_snr(cell: Cell, distance_m: float, power_w: float) -> float:
    """P E[h] / (I + B N0) at this distance."""
    gain = math.pow(max(distance_m, SHORTEST_M), -cell.exponent)
    return power_w * gain / (cell.interference_w + BLOCK_HZ * NOISE_W_PER_HZ)


def efficiency(cell: Cell, snr: float) -> float:
    """Bits per second and hertz at a mean signal-to-noise ratio `snr`."""
    if cell.ergodic:
        found = _scaled_exponential_integral(1 / snr) / math.log(2)
    else:
        found = math.log2(1 + snr)
    return min(found, cell.cap)


def rate_bps(cell: Cell, distance_m: float, power_w: float) -> float:
    """Eq. (3) with all of the cell's blocks."""
    per_hertz = efficiency(cell, mean_snr(cell, distance_m, power_w))
    return cell.resource_blocks * BLOCK_HZ * per_hertz


def faded_rate_bps(cell: Cell, distance_m: float, fading: float, *, up: bool) -> float:
    """Eq. (3) at one moment, without the expectation; `fading` is o, drawn from Exp(1)."""
    power_w = cell.up_power_w if up else cell.down_power_w
    per_hertz = math.log2(1 + mean_snr(cell, distance_m, power_w) * fading)
    return cell.resource_blocks * BLOCK_HZ * min(per_hertz, cell.cap)


def lte(cell: Cell, distance_m: float, *, up: bool) -> Channel:
    """The channel between a member and the base at this distance, in one direction."""
    power_w = cell.up_power_w if up else cell.down_power_w
    return Channel(rate_bps=rate_bps(cell, distance_m, power_w), delay_s=DELAY_S)


def _scaled_exponential_integral(x: float) -> float:
    """exp(x) E1(x), x > 0: with x = 1/snr, the mean of ln(1 + snr o) over o ~ Exp(1).

    Power series below 1, Lentz's continued fraction above (Abramowitz and Stegun 5.1.11, 5.1.22).
    """
    if x < 1:
        total, term = -0.5772156649015329 - math.log(x), -1.0
        for k in range(1, 30):
            term *= -x / k
            total += term / k
        return math.exp(x) * total
    b = x + 1
    c, d = math.inf, 1 / b
    value = d
    for k in range(1, 200):
        a = -k * k
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value
