"""Which shaping back end a run uses, and why."""

from __future__ import annotations

from edgenet.shaping.choice import CHOICES, KERNEL, Shaping, choose
from edgenet.topology.spec import Topology

__all__ = ["CHOICES", "Shaping", "choose", "needs_namespaces"]


def needs_namespaces(topology: Topology) -> bool:
    """Whether the topology asks for a back end that there is only in namespaces."""
    return topology.shaping in KERNEL
