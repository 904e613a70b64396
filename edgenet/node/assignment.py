"""What a launcher tells a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgenet.node.plan import Plan


@dataclass(frozen=True, kw_only=True)
class ProbeOrder:
    """That the links are to be measured first."""

    tolerance: float
    """Part of what was asked by which a link may be off."""
    budget_s: float
    """Seconds that it may take."""
    only: bool = False
    """Measure, tell, and end: no role is played, and nothing is refused."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One node of one run."""

    plan: Plan
    """The resolved topology."""
    name: str
    """Which of its nodes this process is."""
    run_dir: Path
    """The run's folder; the node writes under nodes/<name>/."""
    store_host: str
    """Host of the rendezvous."""
    store_port: int
    """TCP port of the rendezvous."""
    key: bytes = field(repr=False)
    """The join key that every node proves to its peers."""
    shaping: str = "none"
    """The back end in use: 'paced' or 'none'."""
    probe: ProbeOrder | None = None
    """How the links are measured before the role plays; None = not at all."""
    resume: int = 0
    """The round to go on after, of which every node has a checkpoint
    (`meters.checkpoints.common_round`); what the node did after it is forgotten. 0: the start."""
    host_flops: float | None = None
    """The host's calibrated training speed in FLOP/s; None = devices are not slowed down."""
    limits: str = "accounting"
    """What holds nodes to their devices: 'cgroup', 'engine', 'rlimit', 'accounting' or 'none'."""
    shared_bytes: int | None = None
    """Of what the node had resident at its start, what counts; None = all."""
    address: str = "127.0.0.1"
    """The address of this host under which peers reach its links."""
    again: bool = False
    """The run is under way already: the node comes later than others, or again."""
    later: tuple[str, ...] = ()
    """Nodes that are not there when the others start; nobody waits for them."""
