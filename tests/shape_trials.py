"""What is tried on an interface that is not ours, in a kernel with sch_netem; judged by test_shape.

python tests/shape_trials.py        all figures as one JSON object
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from edgenet.shaping import calls, own
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.measure import delays_s, rate_bps
from edgenet.shaping.qdiscs import queues
from edgenet.topology import loads

TOPOLOGY = """\
nodes: {edge: {}, cam: {count: 2}}
links:
  wire: {down: {rate: 20 Mbit, delay: 10 ms}, up: {rate: 40 Mbit, delay: 5 ms}, base: edge,
         members: cam}
train: {scheme: fedavg}
"""
NEAR, FAR, OTHER = "10.9.0.1", "10.9.0.2", "10.9.0.3"


class Cable:
    """Two namespaces with a cable between them, as `edgenet.shaping.measure` takes a network."""

    def __init__(self, away: Path) -> None:
        self._away = away

    def inside(self, end: str) -> AbstractContextManager[None]:
        """Be at one end."""
        return nullcontext() if end == NEAR else calls.inside(self._away)

    def address(self, end: str) -> str:
        """Ends are called by their addresses."""
        return end


def figures(cable: Any) -> dict[str, float]:
    """Of the ways between NEAR and FAR, medians, and of the way to OTHER."""
    return {
        "rate_bps": rate_bps(cable, NEAR, FAR, count=200, times=4),
        "back_bps": rate_bps(cable, FAR, NEAR, count=200, times=4),
        "delay_s": statistics.median(delays_s(cable, NEAR, FAR)),
        "back_s": statistics.median(delays_s(cable, FAR, NEAR)),
        "other_s": statistics.median(delays_s(cable, NEAR, OTHER)),
    }


def main() -> dict[str, Any]:
    """Apply on eth0, measure, clear."""
    board = loads(TOPOLOGY)
    ways = own.ways(board, "edge", {"cam0": FAR})
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(calls.remove, "edgenet-shape-far")
        calls.create("edgenet-shape-far")
        away = calls.path_of("edgenet-shape-far")
        stack.enter_context(calls.scratch())
        with Kernel(calls.HERE) as kernel, Kernel(away) as far, away.open("rb") as fd:
            kernel.add("eth0", "veth", state="up",
                       peer={"ifname": "eth0", "net_ns_fd": fd.fileno()})  # fmt: skip
            kernel.address("eth0", NEAR, 24)
            far.set("eth0", state="up")
            for address in (FAR, OTHER):
                far.address("eth0", address, 24)
            tc = "tc qdisc add dev eth0 root handle 9: netem limit 321 delay 3ms 1ms loss 2%"
            subprocess.run(tc.split(), check=True)
            before = queues(kernel, "eth0")
            for name, ingress in (("egress", False), ("both", True)):
                wish = own.Wish(device="eth0", node="edge", ways=ways, ingress=ingress)
                own.apply(wish, folder)
                found[name] = figures(Cable(away))
            own.clear("eth0", folder)
            after = queues(kernel, "eth0")
            found["before"], found["after"] = ([str(q) for q in each] for each in (before, after))
            found["options"] = [before == after]
            found["interfaces"] = sorted(kernel.devices() - {"lo", "eth0"})
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
