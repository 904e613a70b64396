"""What links cost: loopback against bare gloo, a slow link against its own limit, pacing.

Each case runs two processes, one for each end. `loopback` streams 16 MB messages and sends 64-byte
ones to and fro; `raw` is gloo alone with the same frames. `slow` is a real link of 20 Mbit/s and
25 ms between two network namespaces (needs root and TUN devices); its limit is
bytes / rate + delay. `paced` asks the links themselves for the same channel.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tun_relay
from common import Figures, arguments, say

ENDS = Path(__file__).with_name("link_ends.py")
MESSAGE_BYTES, SLOW_MESSAGE_BYTES = 16 * 1024 * 1024, 256 * 1024
RATE_BPS, DELAY_S = 20e6, 0.025
CHANNEL = {"rate_bps": RATE_BPS, "delay_s": DELAY_S}
TIMEOUT_S = 300


def main() -> None:
    """All cases, one after the other."""
    given = arguments(__doc__)
    size = 0 if given.quick else 2 if given.full else 1
    figures = loopback((10, 30, 100)[size], repeats=(3, 5, 15)[size])
    figures |= paced((10, 20, 60)[size], pings=(20, 40, 100)[size])
    if tun_relay.possible():
        figures |= slow((16, 40, 160)[size])
    else:
        figures["slow"] = "left out: it needs root, /dev/net/tun and the ip command"
    say(figures, given.format)


def loopback(messages: int, repeats: int) -> Figures:
    """Throughput and latency between two processes, and gloo's own throughput."""
    plan = {"nbytes": MESSAGE_BYTES, "messages": messages, "repeats": repeats}
    link = run({**plan, "pings": 500})
    raw = run(plan, "raw-")
    moved = messages * MESSAGE_BYTES
    figures = {
        "loopback_gb_per_s": moved / statistics.median(link["stream_s"]) / 1e9,
        "loopback_best_gb_per_s": moved / min(link["stream_s"]) / 1e9,
        "raw_gb_per_s": moved / statistics.median(raw["stream_s"]) / 1e9,
        "one_way_64_bytes_ms": 1e3 * link["one_way_s"],
    }
    figures["loopback_ratio_to_raw"] = figures["loopback_gb_per_s"] / figures["raw_gb_per_s"]
    return figures


def paced(messages: int, pings: int) -> Figures:
    """The rate and delay that a paced link has, against those that were asked."""
    plan = {"nbytes": SLOW_MESSAGE_BYTES, "messages": messages, "pings": pings}
    link = run({**plan, "channel": CHANNEL, "paced": True})
    sent_s = link["stream_s"][0] - DELAY_S
    rate_bps = messages * SLOW_MESSAGE_BYTES * 8 / sent_s
    return {
        "paced_rate_error_percent": 100 * (rate_bps / RATE_BPS - 1),
        "paced_delay_error_ms": 1e3 * (link["one_way_s"] - DELAY_S),
    }


def slow(messages: int) -> Figures:
    """A stream over real TCP on a slow link."""
    with tun_relay.SlowLink(RATE_BPS, DELAY_S) as relay:
        # All that crosses while a link is made, streams twice (once to warm up) and is closed.
        before = relay.moved(0)
        plan = {"nbytes": SLOW_MESSAGE_BYTES, "messages": messages, "channel": CHANNEL}
        link = run(plan, relay=relay)
        after = relay.moved(0)
    payload = 2 * messages * SLOW_MESSAGE_BYTES
    limit_s = messages * SLOW_MESSAGE_BYTES * 8 / RATE_BPS + DELAY_S
    return {
        "slow_stream_s": link["stream_s"][0],
        "slow_limit_s": limit_s,
        "slow_ratio_to_limit": link["stream_s"][0] / limit_s,
        "slow_bytes_out_percent_over": 100 * ((after["out"] - before["out"]) / payload - 1),
        "slow_bytes_back_percent": 100 * (after["in"] - before["in"]) / payload,
    }


def run(
    plan: dict[str, Any], kind: str = "", relay: tun_relay.SlowLink | None = None
) -> dict[str, Any]:
    """Run both ends; returns what the sender measured. Ends the benchmark if either fails."""
    addresses = relay.addresses if relay else ("127.0.0.1", "127.0.0.1")
    store = (addresses[0], free_port())
    processes = []
    for side, role in enumerate(("send", "receive")):
        words = json.dumps({**plan, "address": addresses[side], "store": store})
        command: Sequence[str] = [sys.executable, str(ENDS), kind + role, words]
        if relay:
            command = relay.inside(side, command)
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    if any(process.returncode for process in processes):
        sys.exit(f"an end of the link failed; the plan was {plan}")
    figures: dict[str, Any] = json.loads(outputs[0])
    return figures


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    main()
