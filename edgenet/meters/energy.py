"""Energy and carbon of one node: a model, not a measurement.

    E = P_idle T + (P_load - P_idle) min(T, busy)

T is the node's wall time. An emulated device is busy, on all its cores, for slowdown x C seconds,
where C is the CPU time of the process on the host. A device that is not slowed down runs on the
hardware it is named after, where C adds up over the cores: busy = C / cores. Not in the model yet:
the radio's energy per byte, and the power of a core at less than full clock.
"""

from __future__ import annotations

from edgenet.devices import Device

JOULES_PER_KWH = 3.6e6

CARBON_KG_PER_KWH = 0.243
"""Carbon intensity of the grid in northern Italy, the paper's choice (FPL, section IV, Table I)."""


def energy_j(device: Device, *, wall_s: float, cpu_s: float, slowdown: float = 1.0) -> float | None:
    """Joules that a node took; None where the power of its device is not known.

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


def kwh(joules: float) -> float:
    """Joules in kilowatt-hours."""
    return joules / JOULES_PER_KWH


def carbon_g(joules: float, kg_per_kwh: float = CARBON_KG_PER_KWH) -> float:
    """Grams of CO2 equivalent that `joules` cause at a carbon intensity in kg/kWh."""
    return kwh(joules) * kg_per_kwh * 1000.0
