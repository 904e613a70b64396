"""Whether a host can carry all of a topology's devices at once, each at its own speed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgenet.devices.profile import Device

_TOLERATED = 0.05
"""Part by which work may take longer than on the device before a run says so."""
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What nodes take of a host's cores while all of them train."""

    cores: float
    """Cores' worth: a device that trains at a tenth of a core's speed takes a tenth of one."""
    host_cores: int
    """Cores that this process may use."""
    faster: tuple[str, ...]
    """Devices that train faster than one core of the host: they are emulated too slowly."""

    @property
    def fits(self) -> bool:
        """Whether the speeds' ratios will be those of the profiles."""
        return self.cores <= self.host_cores

    def __str__(self) -> str:
        """A sentence for `check` and `run`."""
        cores = f"while all train, the nodes take {self.cores:.2g} of {self.host_cores} cores"
        if not self.fits:
            return (
                f"{cores}: too many for this host; their speeds will not be those of their "
                "profiles. Use slower devices, fewer nodes, or a host with more cores"
            )
        if self.faster:
            names = ", ".join(self.faster)
            return f"{cores}; this host is slower than {names}, which will be as fast as the host"
        return f"{cores}: they fit"


def demand(devices: Iterable[Device], host_flops: float, host_cores: int | None = None) -> Demand:
    """What a node on each of `devices` takes while training; a device without a speed, and one
    that is faster than the host, takes a whole core.

    Args:
        devices: one for each node that trains.
        host_flops: the training speed of one core.
        host_cores: None = those that this process may use.
    """
    found: Sequence[Device] = tuple(devices)
    speeds = [host_flops if d.training_flops is None else d.training_flops for d in found]
    faster = [d.name for d, speed in zip(found, speeds, strict=True) if speed > host_flops]
    return Demand(
        cores=sum(min(1.0, speed / host_flops) for speed in speeds),
        host_cores=host_cores or usable_cores(),
        faster=tuple(dict.fromkeys(faster)),
    )


class Seated(Protocol):
    """The part of a seat that counts here."""

    @property
    def device(self) -> str:
        """Name of its profile."""

    @property
    def essential(self) -> bool:
        """Whether the run ends without it."""


def trained_on(seats: Sequence[Seated], profile: Callable[[str], Device]) -> list[Device]:
    """The devices of the nodes that train at the same time: of those that the run could do without
    (learners beside a server that mostly waits), or of all where it can do without none.

    Args:
        seats: all nodes.
        profile: a device by its name.
    """
    many = [seat for seat in seats if not seat.essential] or seats
    return [profile(seat.device) for seat in many]


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def too_late(nodes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """A sentence if devices were emulated too slowly, else None.

    Args:
        nodes: of summary.json.
    """
    slow = {
        name: node["behind_s"] / node["emulated_s"]
        for name, node in nodes.items()
        if node.get("emulated_s") and node["behind_s"] > _TOLERATED * node["emulated_s"]
    }
    if not slow:
        return None
    worst = sorted(slow, key=lambda name: -slow[name])
    named = ", ".join(f"{name} ({slow[name]:.0%})" for name in worst[:_NAMED])
    more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
    return (
        f"this host was too busy: work took longer than on the emulated devices of {named}{more}; "
        "times of this run are not theirs. Use fewer nodes, slower devices, or a quiet host"
    )
