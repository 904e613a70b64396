"""Energy and carbon of one node: modelled from its device's power curve and its radio's.

    E = P_idle T + (P_load - P_idle) min(T, busy) + radio

T is the node's wall time. An emulated device is busy, on all its cores, for slowdown x C seconds,
where C is the CPU time of the process on the host. A device that is not slowed down runs on the
hardware it is named after, where C adds up over the cores: busy = C / cores. Not in the model: the
power of a core at less than full clock. Where the host has a sensor (`edgenet.meters.power`) and
the node is no emulated device, what was measured stands in its place, and the results say so.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.devices import Device
from edgenet.devices.radio import Radio

JOULES_PER_KWH = 3.6e6

CARBON_KG_PER_KWH = 0.243
"""Carbon intensity of the grid in northern Italy, the paper's choice (FPL, section IV, Table I).
The figures of that table themselves work out at about 0.34 (38.74 g for 0.11 kWh)."""


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a node did with its time."""

    wall_s: float
    """Seconds from its start to its end."""
    cpu_s: float
    """Seconds of CPU time of its process."""
    slowdown: float = 1.0
    """Seconds that the emulated device needs for a second of the host; 1 = not emulated."""
    compute_s: float = 0.0
    """Of the wall time: in stages, at the emulated device's speed."""
    send_s: float = 0.0
    """... in sends."""
    wait_s: float = 0.0
    """... waiting for messages."""
    sent_bytes: int = 0
    """Over its links, without what only the testbed needs."""
    received_bytes: int = 0
    """Likewise."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """A node's energy in joules, by what it was doing."""

    compute_j: float
    """In stages: idle power meanwhile, and the busy cores."""
    send_j: float
    """In sends: idle power meanwhile, the radio, and its energy for each byte."""
    wait_j: float
    """Waiting: idle power meanwhile, the radio, and its energy for each byte that came."""
    other_j: float
    """The rest of the time, and of the CPU's work (start, copies, evaluation)."""

    @property
    def total_j(self) -> float:
        """All of it."""
        return self.compute_j + self.send_j + self.wait_j + self.other_j


def energy_j(device: Device, *, wall_s: float, cpu_s: float, slowdown: float = 1.0) -> float | None:
    """Joules that a node took without its radio; None where its device's power is not known.

    Args:
        device: its profile.
        wall_s: seconds from the node's start to its end.
        cpu_s: seconds of CPU time of its process.
        slowdown: seconds that the emulated device needs for a second of the host; 1 = not emulated.
    """
    if device.idle_w is None or device.load_w is None:
        return None
    busy_s = slowdown * cpu_s if slowdown > 1 else cpu_s / (device.cores or 1)
    return device.idle_w * wall_s + (device.load_w - device.idle_w) * min(wall_s, busy_s)


def phases(device: Device, did: Activity, radio: Radio | None = None) -> Phases | None:
    """A node's joules by phase; None where its device's power is not known.

    Args:
        device: its profile.
        did: what it did.
        radio: of a member of a cell; None = a cable, or a base station.
    """
    total_j = energy_j(device, wall_s=did.wall_s, cpu_s=did.cpu_s, slowdown=did.slowdown)
    if total_j is None or device.idle_w is None:
        return None
    idle_w = device.idle_w
    busy_j = total_j - idle_w * did.wall_s
    core_s = did.slowdown * did.cpu_s
    part = min(1.0, did.compute_s / core_s) if core_s > 0 else 0.0
    air_w, up, down = 0.0, 0.0, 0.0
    if radio is not None:
        air_w, up, down = radio.active_w, radio.up_j_per_byte, radio.down_j_per_byte
    rest_s = max(0.0, did.wall_s - did.compute_s - did.send_s - did.wait_s)
    return Phases(
        compute_j=idle_w * did.compute_s + part * busy_j,
        send_j=(idle_w + air_w) * did.send_s + up * did.sent_bytes,
        wait_j=(idle_w + air_w) * did.wait_s + down * did.received_bytes,
        other_j=idle_w * rest_s + (1 - part) * busy_j,
    )


def kwh(joules: float) -> float:
    """Joules in kilowatt-hours."""
    return joules / JOULES_PER_KWH


def carbon_g(joules: float, kg_per_kwh: float = CARBON_KG_PER_KWH) -> float:
    """Grams of CO2 equivalent that `joules` cause at a carbon intensity in kg/kWh."""
    return kwh(joules) * kg_per_kwh * 1000.0
