"""Makes the traces in this folder: a mobile link that was thought up, not recorded.

    python topologies/traces/make_traces.py

The logarithm of the rate is a random walk that is drawn back to its mean (Ornstein-Uhlenbeck,
relaxation 2 s, standard deviation 0.6); for 0.6 s, in a tunnel, nothing gets through. The seed is
the file's name, so the script writes the same files anywhere. Format: see docs/networks.md.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

PERIOD_MS, TUNNEL_MS = 20_000, range(11_000, 11_600)
RELAXATION_MS, DEVIATION = 2000.0, 0.6
PACKET_BITS = 1500 * 8
MEANS_BPS = {"road-up": 3e6, "road-down": 10e6}


def opportunities(name: str, mean_bps: float) -> list[int]:
    """The millisecond of each delivery opportunity."""
    draw, found = random.Random(name), []
    level, bits = 0.0, 0.0
    for millisecond in range(1, PERIOD_MS + 1):
        push = DEVIATION * math.sqrt(2 / RELAXATION_MS) * draw.gauss(0.0, 1.0)
        level += -level / RELAXATION_MS + push
        if millisecond not in TUNNEL_MS:
            bits += mean_bps * math.exp(level - DEVIATION**2 / 2) / 1000
        while bits >= PACKET_BITS:
            bits -= PACKET_BITS
            found.append(millisecond)
    return [*found, PERIOD_MS]  # the last line is when the trace starts over


if __name__ == "__main__":
    for name, mean_bps in MEANS_BPS.items():
        path = Path(__file__).with_name(f"{name}.trace")
        path.write_text("".join(f"{time}\n" for time in opportunities(name, mean_bps)))
        print(path)
