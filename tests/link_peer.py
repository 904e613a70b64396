"""Nodes of other processes, for tests of what happens when one of them dies or freezes.

    link_peer.py PORT NAME WHAT

dials `hub` as NAME (`fork`: as p0, p1, p2 in forked children) and then does WHAT:

- echo: sends back whatever comes, until the hub is gone; ends with 0.
- leave: ends once its word is answered, without closing anything; a reader thread sits inside gloo.
- pour: sends 1 MB messages without end.
- fork: like a launcher: imports torch, trains a step, forks; every child echoes.
"""

from __future__ import annotations

import os
import sys

import torch

from edgenet.errors import PeerLost
from edgenet.links.endpoint import Endpoint
from edgenet.links.handshake import Identity
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.link import WireLink
from edgenet.links.rendezvous import Rendezvous
from edgenet.links.shared import Shared
from edgenet.links.wiring import Wiring

BEATS = (0.2, 2.0)
KEY, DIGEST = b"another process", bytes(range(32))


def endpoint(port: int, name: str) -> Endpoint:
    """A node of this process."""
    return Endpoint(
        Identity(node=name, key=KEY, digest=DIGEST),
        Rendezvous("127.0.0.1", port, KEY),
        Shared(heartbeat=Heartbeat(*BEATS)),
        Wiring(peers=frozenset({"hub", "p0", "p1", "p2"} - {name})),
    )


def echo(link: WireLink) -> None:
    """Send back what comes until nobody is there."""
    try:
        while True:
            link.send(link.recv())
    except PeerLost:
        return


def fork(port: int) -> None:
    """What a launcher does."""
    torch.set_num_threads(1)
    model = torch.nn.Linear(10, 2)
    model(torch.randn(4, 10)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    children = []
    for name in ("p0", "p1", "p2"):
        pid = os.fork()
        if pid == 0:
            node = endpoint(port, name)
            echo(node.dial("hub"))
            node.close()
            os._exit(0)
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    sys.exit(max(codes))


def main() -> None:
    port, name, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if what == "fork":
        fork(port)
    node = endpoint(port, name)
    link = node.dial("hub")
    if what == "leave":
        link.send("bye")
        link.recv()
        return
    if what == "pour":
        while True:
            link.send(torch.zeros(1_000_000, dtype=torch.uint8))
    echo(link)
    node.close()


if __name__ == "__main__":
    main()
