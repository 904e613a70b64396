"""Two hosts on a cable, of which one shapes its interface as a container does; prints the median
round trip in seconds. Run by test_shaping_apart.py under a kernel that has sch_netem.

    python tests/apart_trial.py
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

from edgenet.shaping import calls

LINK = "links: {lan: {rate: 20 Mbit, delay: 25 ms, between: [base, member]}}"
SHAPE = f"""
from edgenet.shaping import apart
from edgenet.topology import loads
head = "name: t\\ntrain: {{scheme: fedavg, rounds: 1}}\\nnodes: {{base: {{}}, member: {{}}}}\\n"
wire = loads(head + "{LINK}")
assert apart.choose("auto", wire).used == "netem", apart.choose("auto", wire)
apart.shape(wire, "base", {{"member": "10.9.0.2"}})
"""
NAMES = ("edgenet-apart-base", "edgenet-apart-member")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


def cable() -> None:
    """An eth0 in both namespaces."""
    base, member = NAMES
    peer = ("peer", "name", "eth0", "netns", member)
    ip("link", "add", "eth0", "netns", base, "type", "veth", *peer)
    for number, name in enumerate(NAMES, 1):
        ip("-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", name, "link", "set", device, "up")


def round_trip_s() -> float:
    """The median of a few."""
    ends = []
    for number, name in enumerate(NAMES, 1):
        with calls.inside(calls.path_of(name)):
            ends.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            ends[-1].bind((f"10.9.0.{number}", 9999))
            ends[-1].settimeout(5.0)
    base, member = ends
    found = []
    for _ in range(15):
        start = time.perf_counter()
        base.sendto(b"?", ("10.9.0.2", 9999))
        member.sendto(member.recv(1), ("10.9.0.1", 9999))
        base.recv(1)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    with ExitStack() as stack:
        for name in NAMES:
            calls.create(name)
            stack.callback(calls.remove, name)
        cable()
        # Only the capability that compose gives: no right to make or enter namespaces.
        weak = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
        with calls.inside(calls.path_of(NAMES[0])):
            subprocess.run([*weak, sys.executable, "-c", SHAPE], check=True, timeout=60)
        print(round_trip_s())


if __name__ == "__main__":
    main()
