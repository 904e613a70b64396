"""What a node's links run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgenet.shaping.paced import Course
from edgenet.topology.spec import Channel


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a node's links run over."""

    peers: frozenset[str]
    """Names of the nodes that may be linked; a caller of another name is refused."""
    channel: Callable[[str, str], Channel] = lambda source, target: Channel()
    """What the network does to one direction between two nodes: (source, target)."""
    paced: bool = False
    """The links themselves hold back what they send, as the channels would."""
    ring_bytes: int = 64 * 1024 * 1024
    """Receive buffers of all links of this node together."""
    seed: int = 0
    """For jitter and loss under pacing."""
    course: Callable[[str, str], Course] | None = None
    """What it does over time, where that is not always the same."""
    started: Callable[[], float | None] = lambda: None
    """When (time.monotonic) the courses began; None before."""
