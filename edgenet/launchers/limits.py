"""How the nodes of a run on this host are held to the memory and cores of their devices.

`cgroup`: by the kernel. A board would hold Python and torch too, whose pages nodes share here; so a
node's own pages may take its device's memory less what the fork server had resident when all was
imported. The training set, which nodes share as well, counts for nobody. `rlimit`: the
node asks the kernel to refuse it what goes beyond (`edgenet.node.memory`), and looks at the same
figure itself, about once a second. `accounting`: it only looks. `none`: not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edgenet.devices import Device
from edgenet.errors import InputError
from edgenet.shaping import cgroups
from edgenet.shaping.cgroups import Allowance, Group
from edgenet.shaping.record import Record
from edgenet.topology.spec import Topology
from edgenet.units import format_memory

_LEAST_BYTES = 16 * 2**20
_OWN = "rlimit" if sys.platform == "linux" else "accounting"
"""What needs neither root nor a launcher; elsewhere the limit counts other memory."""


@dataclass(frozen=True, kw_only=True)
class Limiting:
    """How devices' limits are enforced."""

    used: str
    """'cgroup', 'rlimit', 'accounting' or 'none'."""
    why: str
    """Why this one."""


class Seated(Protocol):
    """A node that is started."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def device(self) -> str:
        """Name of its profile."""


def choose(topology: Topology) -> Limiting:
    """What a local run of `topology` does.

    Raises:
        InputError: the topology asks for what this machine cannot do.
    """
    asked, trees = topology.limits, cgroups.find()
    _check(topology)
    if asked == "cgroup" and isinstance(trees, str):
        raise InputError(
            f"{topology.where('limits')}: limits is cgroup, but {trees}; use auto, rlimit, "
            "accounting or none, or run as root on a system with control groups"
        )
    if asked != "auto":
        return Limiting(used=asked, why="asked for by name")
    if isinstance(trees, str):
        return Limiting(used=_OWN, why=trees)
    return Limiting(used="cgroup", why=f"control groups, version {trees.version}, as root")


def elsewhere(topology: Topology, *, engine: bool = False) -> Limiting:
    """What nodes do that no launcher of ours forks: ranks of torchrun, and in containers.

    Args:
        topology: theirs.
        engine: they are in containers, which an engine holds to their devices.

    Raises:
        InputError: the topology asks for what there is not.
    """
    _check(topology)
    if topology.limits == "cgroup" and not engine:
        raise InputError(
            f"{topology.where('limits')}: limits is cgroup, but only `edgenet run` and containers "
            "have that; use auto, rlimit, accounting or none"
        )
    if topology.limits in ("none", "accounting", "rlimit"):
        return Limiting(used=topology.limits, why="asked for by name")
    if engine:
        return Limiting(used="engine", why="the containers' own limits")
    return Limiting(used=_OWN, why="the nodes are not children of `edgenet run`")


def _check(topology: Topology) -> None:
    if topology.limits == "rlimit" != _OWN:
        raise InputError(
            f"{topology.where('limits')}: limits is rlimit, but only Linux counts private memory "
            "there; use auto, accounting or none"
        )


class Held:
    """How the nodes of a run are held.

    Args:
        limiting: by what.
        groups: node -> its control group, for each whose device has limits.
    """

    def __init__(self, limiting: Limiting, groups: Mapping[str, Group] | None = None) -> None:
        self._limiting, self._groups = limiting, groups or {}

    def order(self) -> dict[str, Any]:
        """For the fork server (in JSON)."""
        groups = {node: each.fields() for node, each in self._groups.items()}
        return {"limits": self._limiting.used, "groups": groups}

    def told(self) -> dict[str, Any]:
        """For run.json, while groups stand."""
        nodes = {
            node: {**vars(each.allowance), "peak_bytes": each.peak_bytes(), "kills": each.kills()}
            for node, each in self._groups.items()
        }
        return {**vars(self._limiting), "nodes": nodes}


@contextmanager
def held_by(topology: Topology, seats: Sequence[Seated], shared_bytes: int) -> Iterator[Held]:
    """For the time of a run.

    Args:
        topology: what is run.
        seats: the nodes that will be started.
        shared_bytes: what they share that a board would hold itself.

    Raises:
        InputError: a device has no room even for Python and torch, or the kernel refused.
    """
    limiting, trees = choose(topology), cgroups.find()
    named = {seat.name: seat.device for seat in seats}
    named |= {name: topology.node(name).device for name in topology.faults.spares}
    allowed = {
        name: Allowance(memory_bytes=_own_bytes(device, shared_bytes), cores=device.cores)
        for name, profile in named.items()
        if limiting.used == "cgroup"
        and (device := topology.profile(profile)).memory_bytes is not None
    }
    if not allowed or isinstance(trees, str):
        yield Held(limiting)
        return
    record = Record()
    groups = {
        node: cgroups.planned(trees, f"edgenet-{record.tag}-{node}", allowance)
        for node, allowance in allowed.items()
    }
    record.groups(str(folder) for each in groups.values() for folder in each.folders)
    try:
        _make(groups, topology)
        yield Held(limiting, groups)
    finally:
        for each in groups.values():
            each.remove()
        record.forget()


def _make(groups: Mapping[str, Group], topology: Topology) -> None:
    try:
        for each in groups.values():
            each.make()
    except OSError as error:
        raise InputError(
            f"{topology.where('limits')}: the kernel refused a control group: {error}; set limits "
            "to rlimit"
        ) from None


def _own_bytes(device: Device, shared_bytes: int) -> int | None:
    if device.memory_bytes is None:
        return None
    own = device.memory_bytes - shared_bytes
    if own < _LEAST_BYTES:
        raise InputError(
            f"device '{device.name}' has {format_memory(device.memory_bytes)}, but Python and "
            f"torch alone take {format_memory(shared_bytes)} here; set limits to none"
        )
    return own


def within(group: Group, body: Callable[[], int]) -> Callable[[], int]:
    """`body`, to be run by a process that joins the group before all else."""
    return partial(_joined, group, body)


def _joined(group: Group, body: Callable[[], int]) -> int:
    group.join()
    return body()
