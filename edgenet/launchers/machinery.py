"""What a fork server works with: the meeting point of launchers with nodes and links.

A stand-in for tests is a module with the same functions.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from edgenet.launchers.job import Job
from edgenet.links.rendezvous import RendezvousServer
from edgenet.node.assignment import Assignment, ProbeOrder
from edgenet.node.memory import tell_outgrown
from edgenet.node.plan import Plan
from edgenet.node.plan import resolve as resolve_topology
from edgenet.node.run import run_node as run_assignment
from edgenet.node.spares import reseat
from edgenet.node.warm import warm_up
from edgenet.topology import dump, load

__all__ = [
    "describe",
    "facts",
    "outgrown",
    "rendezvous",
    "reseat",
    "resolve",
    "run_node",
    "warm_up",
]


def resolve(path: str, overrides: Sequence[str]) -> Plan:
    """The plan of a topology file. Raises InputError."""
    return resolve_topology(load(Path(path), overrides))


def describe(plan: Plan) -> dict[str, Any]:
    """What a launcher has to know of a plan: its text, and its seats in rank order."""
    return {
        "topology": dump(plan.topology),
        "facts": facts(plan),
        "seats": [
            {
                "name": seat.name,
                "role": seat.role,
                "device": seat.device,
                "essential": seat.essential,
                "returns": plan.role(seat.role).returns,
                "peers": [peer for peer, _ in seat.peers],
            }
            for seat in plan.seats
        ],
    }


def facts(plan: Plan) -> dict[str, Any]:
    """What run.json says of a plan beyond its topology."""
    return {
        "parameters": plan.parameters,
        "notes": list(plan.notes),
        "digest": plan.digest.hex(),
    }


def rendezvous(listener: socket.socket, key: bytes) -> AbstractContextManager[object]:
    """Serve the table where nodes find each other, on a socket that listens already."""
    return RendezvousServer(key, listener)


def outgrown(plan: Plan, name: str, job: Job) -> None:
    """Say in a node's journal that the kernel ended it for want of memory; see node.memory."""
    tell_outgrown(plan, name, job.run_dir)


def run_node(plan: Plan, name: str, job: Job) -> int:
    """Run one node to its end in this process; returns its exit code."""
    return run_assignment(
        Assignment(
            plan=plan,
            name=name,
            run_dir=job.run_dir,
            store_host=job.store_host,
            store_port=job.store_port,
            key=job.key,
            shaping=job.shaping,
            probe=None if job.probe is None else ProbeOrder(**job.probe),
            host_flops=job.host_flops,
            address=job.address,
            resume=job.resume,
            again=job.again,
            later=job.later,
            limits=job.limits,
            shared_bytes=job.shared_bytes,
        )
    )
