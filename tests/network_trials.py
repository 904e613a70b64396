"""What is tried on an emulated network, whatever back end makes it; the figures are judged by
test_networks.py.

    python tests/network_trials.py BACK_END        all figures as one JSON object
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from edgenet.channels import Timeline
from edgenet.launchers.conductor import Conductor
from edgenet.meters.start import Start
from edgenet.results.rundir import new_run_dir
from edgenet.shaping.measure import Beam, delays_s, loss, rate_bps
from edgenet.shaping.network import Network
from edgenet.topology import Topology, loads
from edgenet.topology.spec import Channel

PROFILES = {"lte": (20e6, 30e-3), "wifi": (54e6, 5e-3), "ethernet": (100e6, 0.5e-3)}
LOSS = 0.005
"""Standard deviation over 10 000 packets: 0.07 points."""

HEAD = "name: trial\ntrain: {scheme: fedavg, rounds: 1}\nnodes: {base: {}, member: {count: 3}}\n"


def topology(links: str) -> Topology:
    return loads(f"{HEAD}links:\n  {links}\n")


def wire(rate_bps: float, delay_s: float, loss: float = 0.0) -> Topology:
    return topology(
        f"way: {{rate: {rate_bps / 1e6} Mbit, delay: {delay_s * 1e3} ms, loss: {loss}, "
        "between: [base, member0]}"
    )


def fidelity(profile: str, back_end: str) -> dict[str, Any]:
    """Rate and delay (medians) and loss of one profile."""
    rate, delay = PROFILES[profile]
    with Network(wire(rate, delay), back_end) as network:
        found = {
            "rate_bps": rate_bps(network, "base", "member0"),
            "delay_s": statistics.median(delays_s(network, "member0", "base")),
        }
    with Network(wire(rate, delay, LOSS), back_end) as network:
        return found | {"loss": loss(network, "base", "member0", rate_bps=rate / 2)}


def jitter(back_end: str) -> dict[str, Any]:
    """Delays of a stream over 10 +- 5 ms, and whether it arrives in order."""
    way = "way: {rate: 50 Mbit, delay: 10 ms, jitter: 5 ms, between: [base, member0]}"
    with Network(topology(way), back_end) as network:
        spread = delays_s(network, "base", "member0", count=60)
        with Beam(network, "base", "member0") as beam:
            beam.send(300, 200)
            beam.receive()
            numbers = [number for number, _, _ in beam.arrivals]
    return {
        "least_s": min(spread),
        "most_s": max(spread),
        "deviation_s": statistics.stdev(spread),
        "in_order": numbers == list(range(300)),
    }


def together(network: Network, *ways: tuple[str, str], count: int = 300) -> list[float]:
    """The rate of each way while all of them are used."""
    with ExitStack() as stack:
        beams = [stack.enter_context(Beam(network, *way)) for way in ways]
        for _ in range(count // 10):
            for beam in beams:
                beam.send(10)
        for beam in beams:
            beam.receive()
        end = min(beam.arrivals[-1][2] for beam in beams)
        for beam in beams:
            beam.arrivals = [each for each in beam.arrivals if each[2] <= end]
        return [statistics.median(beam.rates_bps(30)) for beam in beams]


def shared(back_end: str) -> dict[str, Any]:
    """Rates over media with members, alone and together."""
    found: dict[str, Any] = {}
    members = "base: base, members: member, shared: true"
    with Network(topology(f"cell: {{rate: 20 Mbit, {members}}}"), back_end) as network:
        found["alone"] = together(network, ("member0", "base"))
        found["two up"] = together(network, ("member0", "base"), ("member1", "base"))
        found["three up"] = together(network, *((f"member{i}", "base") for i in range(3)))
        found["two down"] = together(network, ("base", "member0"), ("base", "member1"))
        found["up and down"] = together(network, ("member0", "base"), ("base", "member1"))
    air = f"air: {{wifi: 802.11n-5GHz, rate: 20 Mbit, delay: 1 ms, jitter: 0 ms, {members}}}"
    with Network(topology(air), back_end) as network:
        found["air alone"] = together(network, ("base", "member0"))
        found["air up and down"] = together(network, ("member0", "base"), ("base", "member1"))
        found["air member to member"] = together(network, ("member0", "member1"))
    return found


def half_load(back_end: str) -> dict[str, Any]:
    """Delays over 100 Mbit/s and 1 ms while half of it is used, in seconds beyond 1 ms."""
    with Network(wire(100e6, 1e-3), back_end) as network:
        with Beam(network, "base", "member0") as beam:
            start = time.perf_counter()
            for sent in range(4200):  # 1 s
                while time.perf_counter() < start + sent * 1500 * 8 / 50e6:
                    beam.drain()
                beam.send(1)
            beam.receive()
            beyond = sorted(delay - 1e-3 for delay in beam.delays_s())
    return {
        "sent": beam.sent,
        "arrived": len(beyond),
        "median_s": statistics.median(beyond),
        "p90_s": beyond[int(0.9 * len(beyond))],
    }


def stream(back_end: str) -> dict[str, Any]:
    """TCP through 100 Mbit/s: rate of the payload."""
    with Network(wire(100e6, 1e-3), back_end) as network:
        with network.inside("member0"):
            listener = socket.create_server((network.address("member0"), 0))
        with network.inside("base"):
            sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
        with listener, sender, receiver:
            return {"rate_bps": _stream_bps(sender, receiver, 20 << 20)}


def _stream_bps(sender: socket.socket, receiver: socket.socket, size: int) -> float:
    thread = threading.Thread(target=sender.sendall, args=(bytes(size),))
    thread.start()
    taken, marks = 0, []
    while taken < size:
        taken += len(receiver.recv(1 << 18))
        marks.append((taken, time.perf_counter()))
    thread.join()
    first = next(mark for mark in marks if mark[0] > size // 4)  # past TCP's slow start
    return (marks[-1][0] - first[0]) * 8 / (marks[-1][1] - first[1])


def unequal(back_end: str) -> dict[str, Any]:
    """A cell in which one member's radio does 20 Mbit/s and another's 5."""
    cell = "cell: {rate: 20 Mbit, delay: 2 ms, base: base, members: member, shared: true}"
    with Network(topology(cell), back_end) as network:
        slow = Channel(rate_bps=5e6, delay_s=2e-3)
        network.change("cell", slow, ("member1", "base"))
        return {
            "together": together(network, ("member0", "base"), ("member1", "base")),
            "fast alone": together(network, ("member0", "base")),
            "slow alone": together(network, ("member1", "base"), count=100),
        }


def changes(back_end: str) -> dict[str, Any]:
    """A link that is degraded, cut and restored while it runs."""
    with Network(wire(20e6, 5e-3), back_end) as network:
        channel = Channel(rate_bps=5e6, delay_s=20e-3)
        found: dict[str, Any] = {"before": _figures(network)}
        network.change("way", channel)
        found["degraded"] = _figures(network)
        network.cut("way")
        with Beam(network, "base", "member0") as beam:
            beam.send(50)
            beam.receive(0.3)
            found["cut"] = len(beam.arrivals)
        network.restore("way")
        found["restored"] = _figures(network)
        found["counts"] = network.counts()["way", "base", "member0"]
    return found


def _figures(network: Network) -> dict[str, float]:
    return {
        "rate_bps": rate_bps(network, "base", "member0", count=100, times=3),
        "delay_s": statistics.median(delays_s(network, "base", "member0", count=15)),
    }


def timeline(back_end: str) -> dict[str, Any]:
    """Rates over a link that a run's timeline degrades, cuts and restores, under a greater load."""
    events = ("degrade: way, rate: 1 Mbit", "cut: way", "restore: way")
    listed = "".join(f"  - {{at: {at} s, {event}}}\n" for at, event in enumerate(events, 1))
    way = "way: {rate: 4 Mbit, delay: 5 ms, queue: 40 kB, between: [base, member0]}"
    moments = dict(zip(("before", "degraded", "cut", "restored"), range(4), strict=True))
    with Network(loads(f"{HEAD}links:\n  {way}\nevents:\n{listed}"), back_end) as network:
        arrived = _arrived(network, 5e6, 4.0)
    return {moment: _rate_bps(arrived, at + 0.45, 0.5) for moment, at in moments.items()}


TRACE = (50, 100, 25, 125)
"""Packets in each half second."""


def recording(back_end: str) -> dict[str, Any]:
    """Rates over a link that follows a trace, for three periods: medians of its intervals."""
    packets = " ".join(map(str, TRACE))
    way = f"trace: {{up: {{period: 2 s, packets: {packets}}}}}, queue: 15 kB"
    with Network(topology(f"way: {{{way}, between: [base, member0]}}"), back_end) as network:
        arrived = _arrived(network, 4e6, 6.0)
    rates = [_rate_bps(arrived, number / 2 + 0.1, 0.4) for number in range(12)]
    return {"rates_bps": [statistics.median(rates[number::4]) for number in range(4)]}


def fading(back_end: str) -> dict[str, Any]:
    """Asked and measured rates of a member of an LTE cell, redrawn every half second."""
    cell = "lte: {resource_blocks: 8, fading: 500 ms}, queue: 15 kB, base: base, members: member"
    nodes = "base: {at: [0, 0]}, member: {at: [5 km, 0]}"
    head = HEAD.replace("base: {}, member: {count: 3}", nodes)
    net = loads(f"{head}links: {{cell: {{{cell}}}}}\nseed: 3")
    line = Timeline(net)
    with Network(net, back_end) as network:
        arrived = _arrived(network, 6e6, 4.0, "member")
    ats = [number / 2 + 0.1 for number in range(8)]
    return {
        "asked_bps": [line.channel("cell", "base", "member", at).rate_bps for at in ats],
        "rates_bps": [_rate_bps(arrived, at, 0.4) for at in ats],
    }


def _arrived(
    network: Network, load_bps: float, seconds: float, target: str = "member0"
) -> list[float]:
    """When packets came that were sent at `load_bps`, after the start of the timeline."""
    with tempfile.TemporaryDirectory() as name, Beam(network, "base", target) as beam:
        run = new_run_dir(name, "trial")
        with Conductor(run, network.topology, (), network.set):
            start = Start.of(run.path)
            while (begun := start.at()) is None:
                time.sleep(0.001)
            while (at_s := time.monotonic() - begun) < seconds:
                beam.send(max(0, int(at_s * load_bps / 12_000) - beam.sent))
                beam.drain()
                time.sleep(0.005)
        begun += time.time() - time.monotonic()
        return [arrival - begun for _, _, arrival in beam.arrivals]


def _rate_bps(arrived: list[float], at_s: float, seconds: float) -> float:
    return sum(at_s <= each < at_s + seconds for each in arrived) * 12_000 / seconds


def speed(back_end: str) -> dict[str, Any]:
    """Seconds to make and to remove a network of a base and five members."""
    text = HEAD.replace("count: 3", "count: 5")
    five = loads(text + "links: {cell: {rate: 20 Mbit, base: base, members: member}}")
    network = Network(five, back_end)
    start = time.perf_counter()
    with network:
        up_s = time.perf_counter() - start
        start = time.perf_counter()
    return {"up_s": up_s, "down_s": time.perf_counter() - start}


TRIALS: dict[str, Callable[[str], dict[str, Any]]] = {
    **{profile: partial(fidelity, profile) for profile in PROFILES},
    **{
        each.__name__: each
        for each in (half_load, stream, jitter, shared, changes, timeline, recording, fading, speed)
    },
}

WHERE_TIME_IS_SHARED = {"unequal": unequal}
"""What netem cannot do."""

if __name__ == "__main__":
    names = sys.argv[2:] or list(TRIALS)
    print(
        json.dumps(
            {name: (TRIALS | WHERE_TIME_IS_SHARED)[name](sys.argv[1]) for name in names}, indent=1
        )
    )
