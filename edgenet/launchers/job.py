"""What every node of one run is told by its launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, as its nodes see it."""

    run_dir: Path
    """Folder of the run; a node writes under nodes/<its name>."""
    key: bytes = field(repr=False)
    """The join key that every node proves to its peers."""
    shaping: str
    """The back end in use: 'netem', 'relay', 'paced' or 'none'."""
    store_port: int
    """TCP port of the rendezvous store."""
    store_host: str = "127.0.0.1"
    """Host of the rendezvous store."""
    address: str = "127.0.0.1"
    """The address of this host under which other nodes reach its links."""
    probe: Mapping[str, Any] | None = None
    """Fields of the `edgenet.node.assignment.ProbeOrder`; None = the links are not measured."""
    resume: int = 0
    """The round to go on after (`meters.checkpoints.common_round`); 0: from the start."""
    host_flops: float | None = None
    """What the host computes in FLOP/s as calibrated; None if nothing is slowed down."""
    again: bool = False
    """The run is under way already: the node comes later than others, or again."""

    later: tuple[str, ...] = ()
    """Nodes that are not there when the others start; nobody waits for them."""
    limits: str = "none"
    """What holds nodes to their devices: 'cgroup', 'rlimit', 'accounting' or 'none'."""
    shared_bytes: int = 0
    """Resident in the fork server when all was imported: counts for every node."""

    def log(self, node: str) -> Path:
        """Where a node's stdout and stderr go."""
        return self.run_dir / "nodes" / node / "log.txt"
