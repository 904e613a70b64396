"""The two processes at the ends of a measured link; started by links.py.

    link_ends.py send|receive|raw-send|raw-receive PLAN

PLAN is a JSON object: `address` of this end, `store` [host, port] at the sending end, and what to
measure (see `Plan`). A sender prints one JSON object with its figures.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from edgenet.links.endpoint import Endpoint
from edgenet.links.handshake import Identity
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.link import WireLink
from edgenet.links.listener import listen
from edgenet.links.rendezvous import Rendezvous, RendezvousServer
from edgenet.links.shared import Shared
from edgenet.links.wiring import Wiring
from edgenet.topology.spec import Channel

GLOO: Any = dist
FRAME_BYTES, DEPTH, IN_FLIGHT = 1024 * 1024, 8, 3
FOREVER = timedelta(hours=1)
_KEY = b"benchmark"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured."""

    address: str
    store: tuple[str, int]
    nbytes: int
    """Size of a message of the stream."""
    messages: int
    """In a stream."""
    repeats: int = 1
    """Streams; the first one only warms up."""
    pings: int = 0
    """Messages of 64 bytes sent to and fro afterwards."""
    channel: dict[str, Any] | None = None
    """Fields of Channel: what the ends believe about the link."""
    paced: bool = False
    """The ends make the link so."""


def join(plan: Plan, name: str, peer: str) -> tuple[Endpoint, WireLink]:
    """This process's end of the link; the sender accepts."""
    channel = Channel(**plan.channel) if plan.channel else Channel()
    node = Endpoint(
        Identity(node=name, key=_KEY, digest=bytes(32)),
        Rendezvous(*plan.store, _KEY),
        Shared(heartbeat=Heartbeat()),
        Wiring(peers=frozenset({peer}), channel=lambda source, target: channel, paced=plan.paced),
        address=plan.address,
    )
    return node, node.accept(peer) if name == "sender" else node.dial(peer)


def send(plan: Plan) -> dict[str, Any]:
    """Streams, then pings. Both ends read the same clock: they share a kernel."""
    with RendezvousServer(_KEY, listen(*plan.store)):
        node, link = join(plan, "sender", "receiver")
        data = torch.ones(plan.nbytes, dtype=torch.uint8)
        took_s = []
        for _ in range(plan.repeats + 1):
            start = time.monotonic()
            for _ in range(plan.messages):
                link.send(data)
            took_s.append(link.recv() - start)
        small, trips_s = torch.zeros(64, dtype=torch.uint8), []
        for _ in range(plan.pings):
            start = time.monotonic()
            link.send(small)
            trips_s.append(link.recv() - start)
        node.close()
    return {"stream_s": took_s[1:], "one_way_s": statistics.median(trips_s or [0.0])}


def receive(plan: Plan) -> None:
    """Take what comes and tell when it came."""
    node, link = join(plan, "receiver", "sender")
    for _ in range(plan.repeats + 1):
        for _ in range(plan.messages):
            link.recv()
        link.send(time.monotonic())
    for _ in range(plan.pings):
        link.recv()
        link.send(time.monotonic())
    node.close()


def group(plan: Plan, rank: int) -> Any:
    """A bare process group of two."""
    options = GLOO.ProcessGroupGloo._Options()
    options._devices = [GLOO.ProcessGroupGloo.create_device(hostname=plan.address)]
    options._threads, options._timeout = 1, timedelta(seconds=60)
    store = GLOO.TCPStore(*plan.store, None, rank == 0, options._timeout, wait_for_workers=False)
    return GLOO.ProcessGroupGloo(store, rank, 2, options)


def raw_send(plan: Plan) -> dict[str, Any]:
    """What gloo does without a link above it: the same frames, no copies."""
    bare = group(plan, 0)
    data = torch.ones(plan.nbytes, dtype=torch.uint8)
    answer = torch.zeros(1)
    took_s = []
    for _ in range(plan.repeats + 1):
        done = bare.recv([answer], 1, 2)
        start, works = time.monotonic(), []
        for _ in range(plan.messages):
            for frame in torch.split(data, FRAME_BYTES):
                works.append(bare.send([frame], 1, 1))
                if len(works) > IN_FLIGHT:
                    works.pop(0).wait(FOREVER)
        done.wait(FOREVER)
        took_s.append(time.monotonic() - start)
        for work in works:
            work.wait(FOREVER)
    return {"stream_s": took_s[1:]}


def raw_receive(plan: Plan) -> None:
    """The other end of `raw_send`."""
    bare = group(plan, 1)
    ring = [torch.ones(FRAME_BYTES, dtype=torch.uint8) for _ in range(DEPTH)]
    works = [bare.recv([buffer], 0, 1) for buffer in ring]
    frames = -(-plan.nbytes // FRAME_BYTES) * plan.messages
    for _ in range(plan.repeats + 1):
        for number in range(frames):
            works[number % DEPTH].wait(FOREVER)
            works[number % DEPTH] = bare.recv([ring[number % DEPTH]], 0, 1)
        bare.send([torch.zeros(1)], 0, 2).wait(FOREVER)


def main() -> None:
    """Play one end."""
    torch.set_num_threads(1)
    words = json.loads(sys.argv[2])
    plan = Plan(**{**words, "store": (words["store"][0], words["store"][1])})
    ends = {"send": send, "receive": receive, "raw-send": raw_send, "raw-receive": raw_receive}
    figures = ends[sys.argv[1]](plan)
    if figures:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
