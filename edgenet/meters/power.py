"""Real power sensors of the host, where it has any that may be read without privileges.

    rapl      Intel's and AMD's energy counters: /sys/class/powercap/intel-rapl:N/energy_uj, all
              packages (often readable by root alone)
    ina3221   the rails of a Jetson: the rail that feeds the board (VDD_IN, POM_5V_IN) in hwmon
    pmic      the Raspberry Pi 5's power management chip: `vcgencmd pmic_read_adc`, the sum over its
              rails; what the USB ports draw is not in it

A sensor measures the host and not a process. What a node took is its part by CPU time:
host's joules x node's CPU seconds / host's busy CPU seconds. That includes its part of the idle
power.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil

_SUPPLIES = ("VDD_IN", "POM_5V_IN", "5V_IN")
_RAIL = re.compile(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=([0-9.]+)")


class Sensor(Protocol):
    """Something that counts the host's joules."""

    name: str
    """What it is: 'rapl', 'ina3221' or 'pmic'."""

    def joules(self) -> float:
        """Joules since the first call; to be called at least once a second or so."""


class Rapl:
    """Energy counters of the processor packages.

    Args:
        zones: folders with energy_uj and max_energy_range_uj.
    """

    name = "rapl"

    def __init__(self, zones: list[Path]) -> None:
        self._zones = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = {zone: _count(zone) for zone in zones}
        self._joules = 0.0

    def joules(self) -> float:
        """Joules since it was made."""
        for zone, wrap in self._zones.items():
            now = _count(zone)
            self._joules += ((now - self._last[zone]) % (wrap + 1)) * 1e-6  # the counter wraps
            self._last[zone] = now
        return self._joules


class Integrated:
    """Joules from readings of watts, by the trapezoidal rule.

    Args:
        name: what reads.
        watts: one reading.
        clock: seconds.
    """

    def __init__(
        self, name: str, watts: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self._watts, self._clock = name, watts, clock
        self._at, self._last, self._joules = clock(), watts(), 0.0

    def joules(self) -> float:
        """Joules since it was made."""
        at, watts = self._clock(), self._watts()
        self._joules += (at - self._at) * (watts + self._last) / 2
        self._at, self._last = at, watts
        return self._joules


class HostMeter:
    """A node's part of what the host's sensor counts.

    Args:
        sensor: the host's.
    """

    def __init__(self, sensor: Sensor) -> None:
        self.name = sensor.name
        self._sensor = sensor
        self._busy_s = _busy_s()

    def joules(self, cpu_s: float) -> float:
        """The part of a process that has used `cpu_s` seconds of CPU since the meter was made."""
        joules, busy_s = self._sensor.joules(), _busy_s() - self._busy_s
        return joules * min(1.0, cpu_s / busy_s) if busy_s > 0 else 0.0


def find(root: Path = Path("/")) -> Sensor | None:
    """The host's sensor, or None; the first that answers.

    Args:
        root: where the system's files are (tests have their own).
    """
    for kind in (_rapl, _ina3221, _pmic):
        try:
            sensor = kind(root)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue  # not there, or not for this user: the next
        if sensor is not None:
            return sensor
    return None


def _rapl(root: Path) -> Sensor | None:
    zones = [
        zone
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        if zone.name.count(":") == 1  # a package; its parts are counted in it
    ]
    return Rapl(zones) if zones else None


def _count(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


def _ina3221(root: Path) -> Sensor | None:
    for label in sorted((root / "sys/class/hwmon").glob("hwmon*/in*_label")):
        if label.read_text().strip() in _SUPPLIES:
            number = label.name.removeprefix("in").removesuffix("_label")
            amperes = label.with_name(f"curr{number}_input")
            return Integrated(
                "ina3221", partial(_rail_w, label.with_name(f"in{number}_input"), amperes)
            )
    return None


def _rail_w(millivolts: Path, milliamperes: Path) -> float:
    return int(millivolts.read_text()) * int(milliamperes.read_text()) * 1e-6


def _pmic(root: Path) -> Sensor | None:
    program = shutil.which("vcgencmd")
    if program is None or root != Path("/"):
        return None

    def watts() -> float:
        command = [program, "pmic_read_adc"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
        return pmic_watts(done.stdout)

    watts()
    return Integrated("pmic", watts)


def pmic_watts(text: str) -> float:
    """Sum of volts times amperes over the rails in `vcgencmd pmic_read_adc`'s answer.

    Raises:
        ValueError: there are no rails in it.
    """
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in _RAIL.findall(text):
        rails.setdefault(rail, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    if not powers:
        raise ValueError("vcgencmd told of no rails")
    return sum(powers)


def _busy_s() -> float:
    """CPU seconds that all processes of the host have used since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))
