"""Which shaping back end a run uses, and why."""

from __future__ import annotations

from edgenet.channels import Timeline
from edgenet.errors import InputError
from edgenet.shaping import apart
from edgenet.shaping.choice import CHOICES, KERNEL, Shaping, choose
from edgenet.topology.spec import Topology

__all__ = [
    "CHOICES",
    "Shaping",
    "check_still",
    "choose",
    "needs_namespaces",
    "shapes_own_interface",
]


def check_still(topology: Topology) -> None:
    """For launchers that do not tell nodes when training starts, and do not own them.

    Raises:
        InputError: something is to happen at a given time of the run, or nodes are to be started
            again.
    """
    if topology.faults.restart:
        raise InputError(
            f"{topology.where('faults.restart')}: faults.restart needs `edgenet run`, which owns "
            "the nodes; torchrun's --max-restarts starts all of them anew: add --set "
            "faults.restart=0"
        )
    live = Timeline(topology).live
    if topology.events or live:
        what = "the events section" if topology.events else f"what link '{live[0]}' follows"
        raise InputError(
            f"{topology.where('events' if topology.events else f'links.{live[0]}')}: {what} needs "
            "`edgenet run`, which tells all nodes when training starts; under torchrun and in "
            "containers the network stays as it is"
        )


def needs_namespaces(topology: Topology) -> bool:
    """Whether the topology asks for a back end that there is only in namespaces."""
    return topology.shaping in KERNEL


def shapes_own_interface(topology: Topology) -> bool:
    """Whether nodes in containers should try to shape their interfaces; for that they need
    CAP_NET_ADMIN.

    Raises:
        ShapingError: the topology asks for a back end that there is not in containers.
    """
    return apart.wants_netem(topology.shaping, topology)
