"""Links for tests: both ends in this process, over queues or over real gloo."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgenet.links.endpoint import Endpoint
from edgenet.links.handshake import Identity
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.rendezvous import Rendezvous, RendezvousServer
from edgenet.links.shared import Limits, Shared
from edgenet.links.wiring import Wiring
from edgenet.meters.journal import Journal
from edgenet.topology.spec import Channel

KEY = b"a key for tests"
DIGEST = hashlib.sha256(b"a topology").digest()


@dataclass
class Ends:
    """Both ends of one link, 'left' and 'right'."""

    left: WireLink
    right: WireLink
    shared: tuple[Shared, Shared]
    heartbeats: tuple[Heartbeat, Heartbeat] | None


@dataclass(frozen=True)
class Setting:
    """How a pair of ends is made."""

    limits: Limits = field(default_factory=Limits)
    journals: tuple[Path | None, Path | None] = (None, None)
    beats: tuple[float, float] | None = None
    """(heartbeat_s, silence_s); None: no heartbeat."""
    channel: Channel | None = None
    """Paced like this in both directions."""
    wiring: dict[str, Any] = field(default_factory=dict)


Opener = Callable[[Setting], contextlib.AbstractContextManager[Ends]]


def _shared(setting: Setting) -> tuple[Shared, Shared]:
    left, right = (
        Shared(
            journal=Journal(path),
            limits=setting.limits,
            heartbeat=Heartbeat(*setting.beats) if setting.beats else None,
        )
        for path in setting.journals
    )
    return left, right


def _ends(left: WireLink, right: WireLink, shared: tuple[Shared, Shared]) -> Ends:
    one, two = (each.heartbeat for each in shared)
    return Ends(left, right, shared, (one, two) if one and two else None)


@contextlib.contextmanager
def memory(setting: Setting) -> Iterator[Ends]:
    """Over queues."""
    from edgenet.shaping.paced import Pacer

    shared = _shared(setting)
    pace = setting.channel and Pacer(setting.channel)
    left, right = link_pair(("left", "right"), shared, paces=(pace, pace))
    try:
        yield _ends(left, right, shared)
    finally:
        for link in (left, right):
            link.start_close()
        for link in (left, right):
            link.close()
        for each in shared:
            each.journal.close()
            if each.heartbeat:
                each.heartbeat.close()


@contextlib.contextmanager
def gloo(setting: Setting) -> Iterator[Ends]:
    """Over gloo and the loopback."""
    shared = _shared(setting)
    channel = setting.channel or Channel()
    with RendezvousServer(KEY) as server, contextlib.ExitStack() as stack:
        ends = {}
        for name, peer, each in (("left", "right", shared[0]), ("right", "left", shared[1])):
            wiring = Wiring(
                peers=frozenset({peer}),
                channel=lambda source, target: channel,
                paced=setting.channel is not None,
                **setting.wiring,
            )
            ends[name] = endpoint(server, name, each, wiring)
            stack.callback(each.journal.close)
        links = both(ends["left"], ends["right"])
        try:
            yield _ends(*links, shared)
        finally:
            for link in links:
                link.start_close()
            for each_end in ends.values():
                each_end.close()


def endpoint(
    server: RendezvousServer,
    name: str,
    shared: Shared | None = None,
    wiring: Wiring | None = None,
    *,
    key: bytes = KEY,
    digest: bytes = DIGEST,
) -> Endpoint:
    """A node that any of `left`, `right`, `p0` .. `p99` may be linked to."""
    peers = frozenset({"left", "right", "hub", *(f"p{i}" for i in range(100))} - {name})
    return Endpoint(
        Identity(node=name, key=key, digest=digest),
        Rendezvous(*server.address, KEY),
        shared or Shared(),
        wiring or Wiring(peers=peers),
    )


def both(acceptor: Endpoint, dialer: Endpoint) -> tuple[WireLink, WireLink]:
    """Link two endpoints: (the acceptor's end, the dialer's end)."""
    names = acceptor._identity.node, dialer._identity.node
    there = dialer.dial(names[0], timeout_s=10.0)
    return acceptor.accept(names[1], timeout_s=10.0), there


OPENERS: dict[str, Opener] = {"memory": memory, "gloo": gloo}
