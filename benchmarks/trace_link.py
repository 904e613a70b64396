"""How true is a link that follows a trace: asked against delivered rate, by TCP over the relay.

    python benchmarks/trace_link.py [--quick | --full] [--format json]

One TCP stream fills a link that follows `topologies/traces/road-down.trace` (with --full then one
that follows `road-up.trace`) between two network namespaces, for 40 s: the trace twice. Asked is
the trace's rate less TCP/IP's headers (1448 of 1500 bytes); delivered is what the receiver gets,
in windows of half a second. Needs root. Writes `results/trace_link.csv` and
`results/trace_link.png` beside this file, unless --quick.

`error` is the mean distance between the two over the windows, in parts of the mean rate; `total` is
delivered over asked in the whole. The first half second is left out. The queue is longer than
the sender's buffer, so nothing is dropped: after a drop a receiver gets nothing for a round trip
and then all at once, which would be TCP's doing and not the link's. Where nothing can be delivered
(at 11 s) a link has 64 kbit/s; see docs/networks.md.
"""

from __future__ import annotations

import contextlib
import csv
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import common

from edgenet.channels import Timeline
from edgenet.launchers.conductor import Conductor
from edgenet.meters.start import Start
from edgenet.results.figures import picture
from edgenet.results.rundir import new_run_dir
from edgenet.shaping.network import Network
from edgenet.topology import Topology, load

RESULTS = Path(__file__).with_name("results")
TRACES = Path(__file__).parents[1] / "topologies" / "traces"
WINDOW_S, STEP_S = 0.5, 0.02
GOODPUT = 1448 / 1500
DELAY_S = 0.02
WARM_S = 1.0  # TCP's slow start, at the mean rate


@dataclass(frozen=True)
class Window:
    """Half a second of the stream."""

    at_s: float
    """Its end, after the start."""
    asked_bps: float
    """The trace's rate, as goodput."""
    delivered_bps: float
    """What arrived."""


def topology(folder: Path, trace: str) -> Topology:
    """Two nodes and a link that follows a trace."""
    path = folder / "trace.yaml"
    path.write_text(
        "nodes: {a: {}, b: {}}\ntrain: {scheme: fedavg}\nlinks:\n"
        f"  way: {{trace: {{up: {TRACES / trace}}}, delay: {DELAY_S * 1e3} ms, queue: 10 MB, "
        "between: [a, b]}\n"
    )
    return load(path)


@contextlib.contextmanager
def stream(network: Network) -> Iterator[socket.socket]:
    """A TCP connection that `a` sends over as fast as it goes; yields the end at `b`."""
    with network.inside("b"):
        listener = socket.create_server((network.address("b"), 0))
    with network.inside("a"):
        sender = socket.create_connection(listener.getsockname())
        # BBR, where it is the host's choice, pauses on purpose to probe for the round trip.
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    receiver, _ = listener.accept()
    with listener, sender, receiver:
        thread = threading.Thread(target=_fill, args=(sender,), daemon=True)
        thread.start()
        yield receiver
        receiver.shutdown(socket.SHUT_RDWR)
        sender.shutdown(socket.SHUT_RDWR)
        thread.join(10.0)


def _fill(sender: socket.socket) -> None:
    block = bytes(1 << 16)
    with contextlib.suppress(OSError):  # the receiver has seen enough
        while True:
            sender.sendall(block)


def measured(trace: str, seconds: float) -> list[Window]:
    """Fill a link that follows the trace for so long."""
    with tempfile.TemporaryDirectory(prefix="edgenet-bench-") as name:
        net = topology(Path(name), trace)
        run = new_run_dir(Path(name), "trace")
        with Network(net, "relay") as network, stream(network) as receiver:
            _take(receiver, time.monotonic() + WARM_S)
            with Conductor(run, net, (), network.set):
                started = _began(run.path)
                marks = _take(receiver, started + seconds + DELAY_S)
    arrived = [(at - started - DELAY_S, taken) for at, taken in marks]
    return list(_windows(Timeline(net), arrived, seconds))


def _began(folder: Path) -> float:
    start, deadline = Start.of(folder), time.monotonic() + 5.0
    while (at := start.at()) is None:
        if time.monotonic() > deadline:
            sys.exit("the timeline did not start")
        time.sleep(0.001)
    return at


def _take(receiver: socket.socket, until: float) -> list[tuple[float, int]]:
    """(when, bytes so far) of all that is received until then."""
    taken, marks = 0, []
    receiver.settimeout(0.05)
    while (now := time.monotonic()) < until:
        marks.append((now, taken))
        with contextlib.suppress(TimeoutError):
            taken += len(receiver.recv(1 << 18))
    return marks


def _windows(
    line: Timeline, arrived: Sequence[tuple[float, int]], seconds: float
) -> Iterator[Window]:
    steps = round(WINDOW_S / STEP_S)
    for number in range(1, int(seconds / WINDOW_S)):
        begin_s, end_s = number * WINDOW_S, (number + 1) * WINDOW_S
        rates = [
            line.channel("way", "a", "b", begin_s + (step + 0.5) * STEP_S).rate_bps
            for step in range(steps)
        ]
        taken = _by(arrived, end_s) - _by(arrived, begin_s)
        yield Window(end_s, statistics.mean(rates) * GOODPUT, taken * 8 / WINDOW_S)


def _by(arrived: Sequence[tuple[float, int]], at_s: float) -> int:
    return max((taken for when, taken in arrived if when <= at_s), default=0)


def figures(windows: Sequence[Window]) -> dict[str, float]:
    """How far delivered is from asked."""
    mean_bps = statistics.mean(each.asked_bps for each in windows)
    off = [abs(each.delivered_bps - each.asked_bps) for each in windows]
    return {
        "asked_mbps": mean_bps / 1e6,
        "total": statistics.mean(each.delivered_bps for each in windows) / mean_bps,
        "error": statistics.mean(off) / mean_bps,
        "median_error": statistics.median(off) / mean_bps,
    }


def write(windows: Sequence[Window]) -> None:
    """The windows as CSV and as a picture."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "trace_link.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("end_s", "asked_bps", "delivered_bps"))
        rows.writerows((each.at_s, round(each.asked_bps), round(each.delivered_bps))
                       for each in windows)  # fmt: skip
    with picture(RESULTS / "trace_link.png", size=(7.0, 3.2)) as axes:
        (axis,) = axes.flat
        ends = [each.at_s for each in windows]
        axis.step(ends, [each.asked_bps / 1e6 for each in windows], where="pre", label="asked",
                  marker="", linewidth=2.5, alpha=0.5)  # fmt: skip
        axis.step(ends, [each.delivered_bps / 1e6 for each in windows], where="pre",
                  label="delivered", marker="", linewidth=1.2)  # fmt: skip
        axis.set(xlabel="time [s]", ylabel="TCP goodput [Mbit/s]", ylim=(0, None),
                 title="A link that follows a trace, over the relay")  # fmt: skip
        axis.legend()


def main() -> int:
    """Measure, write, print."""
    options = common.arguments(__doc__)
    seconds = 6.0 if options.quick else 40.0
    windows = measured("road-down.trace", seconds)
    found = figures(windows)
    if not options.quick:
        write(windows)
    if options.full:
        slow = figures(measured("road-up.trace", seconds))
        found |= {f"slow_{key}": value for key, value in slow.items()}
    common.say(found, options.format)
    return 0


if __name__ == "__main__":
    sys.exit(main())
