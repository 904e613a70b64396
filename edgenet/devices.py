"""Device profiles: how fast a device trains, what it holds in memory, what it draws from the wall.

A node with a profile is slowed down on the host until it trains at `training_flops`; memory and
power are used for accounting only. Where the numbers come from:

`matrix_flops` (single-precision matrix product, all cores) is derived from published
High-Performance Linpack (HPL) results, which are double precision: twice the HPL figure wherever
the SIMD unit holds twice as many single-precision numbers; once on the Pi 1, which has none.

`training_flops` is TRAINING_SHARE of that. The share is an estimate, not a measurement on the
device: on one core of an x86 server, PyTorch trained the LEAF CNN at 0.71 and a 784-200-200-10
network at 0.57 of the rate of a 512x512 product (batch 32); parallel efficiency over four small
cores at these sizes is taken as about 0.6.

    [geerling]   github.com/geerlingguy/top500-benchmark, README: HPL, with watts under load
    [cloutier]   Cloutier, Paradis, Weaver: A Raspberry Pi Cluster Instrumented for Fine-Grained
                 Power Measurement, Electronics 5(4):61, 2016: HPL of one board
    [basford]    Basford et al.: Performance analysis of single board computer clusters, FGCS 2019:
                 16 boards reach up to 60 GFLOPS at 80 W
    [madavi]     raspi.madavi.de/2015/07: HPL 0.267 GFLOPS on a Pi 1 B at 900 MHz with OpenBLAS
    [pidramble]  Geerling's pidramble.com wiki: board power, idle and under full CPU load
    [forum]      forums.raspberrypi.com, t=6050: power of the first Pi, 2012
    [vendor]     the maker's data sheet or power modes; idle power then an estimate
    [dab]        Mays, Elsayed, Hassanein: DAB, Table I: the devices of that testbed

The devices that Table I of [dab] calls Pi1, Pi2 and Pi3 have clocks and memories of later boards
(1.4 to 1.8 GHz, up to 4 GB); the profiles here are the boards of those names. PyTorch has no
wheels for the Pi 1 and Pi 2 (32-bit): they are emulated. The Jetson profiles train on the CPU, as
edgenet does; on their GPUs they would be many times faster.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

TRAINING_SHARE = 0.4
"""Part of the matrix-product rate that training a small model sustains (estimate, see above)."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One kind of machine."""

    name: str
    """As written in `device:`."""
    description: str
    """Board or processor, clock, and what stands beside it."""
    cores: int | None
    """CPU cores; None = those of this machine."""
    memory_bytes: int | None
    """RAM; None = that of this machine."""
    matrix_flops: float | None
    """Single-precision FLOP/s of a large matrix product on all cores; None = as this machine."""
    training_flops: float | None
    """Single-precision FLOP/s sustained while training a small model (forward and backward, one
    process); None = as fast as this machine, no slow-down."""
    idle_w: float | None
    """Power when idle, in watts; None = not known."""
    load_w: float | None
    """Power with all cores busy, in watts; None = not known."""
    source: str
    """Where speed and power come from; the keys in brackets stand in this module's docstring."""

    @property
    def active_w_per_core(self) -> float | None:
        """Watts that one busy core adds to the idle power; None = not known."""
        if self.idle_w is None or self.load_w is None or self.cores is None:
            return None
        return (self.load_w - self.idle_w) / self.cores


def _device(
    names: tuple[str, str], cores: int, memory_mb: int, matrix_gflops: float,
    power_w: tuple[float, float], source: str,
) -> Device:  # fmt: skip
    """A profile from published figures: (name, description), ..., (idle, load), source."""
    return Device(
        name=names[0],
        description=names[1],
        cores=cores,
        memory_bytes=memory_mb * 1024 * 1024,
        matrix_flops=matrix_gflops * 1e9,
        training_flops=matrix_gflops * 1e9 * TRAINING_SHARE,
        idle_w=power_w[0],
        load_w=power_w[1],
        source=source,
    )


_HOST = Device(
    name="host",
    description="this machine, at its own speed",
    cores=None,
    memory_bytes=None,
    matrix_flops=None,
    training_flops=None,
    idle_w=None,
    load_w=None,
    source="no slow-down; power unknown",
)

_DEVICES = (
    _HOST,
    _device(
        ("workstation", "desktop, AMD Ryzen 5 5600X, 6 cores, 3.7 GHz, 32 GB"),
        6, 32768, 2 * 229.0, (60.0, 196.0),
        "HPL 229 GFLOPS and 196 W [geerling]; idle power is an estimate",
    ),
    _device(
        ("edge-server", "Ampere Altra Q32-17, 32 cores, 1.7 GHz, 64 GB"),
        32, 65536, 2 * 332.07, (50.0, 100.0),
        "HPL 332.07 GFLOPS and 100 W [geerling]; idle power is an estimate",
    ),
    _device(
        ("laptop", "four-core laptop-class PC, Intel i5-7400T, 2.4 GHz, 8 GB"),
        4, 8192, 2 * 72.472, (10.0, 41.0),
        "HPL 72.472 GFLOPS and 41 W (Lenovo M710q) [geerling]; idle power is an estimate",
    ),
    _device(
        ("pi1", "Raspberry Pi 1 B, ARM1176, 1 core, 700 MHz, 512 MB"),
        1, 512, 0.267 * 700 / 900, (2.1, 2.4),
        "HPL 0.267 GFLOPS at 900 MHz scaled to 700 MHz [madavi]; power [forum]",
    ),
    _device(
        ("pi2", "Raspberry Pi 2 B, Cortex-A7, 4 cores, 900 MHz, 1 GB"),
        4, 1024, 2 * 1.47, (1.1, 2.1),
        "HPL 1.47 GFLOPS [cloutier]; power [pidramble]",
    ),
    _device(
        ("pi3", "Raspberry Pi 3 B+, Cortex-A53, 4 cores, 1.4 GHz, 1 GB"),
        4, 1024, 2 * 60.0 / 16, (1.9, 5.1),
        "HPL 60 GFLOPS over 16 boards, so 3.75 each, a lower bound [basford]; power [pidramble]",
    ),
    _device(
        ("pi4", "Raspberry Pi 4 B, Cortex-A72, 4 cores, 1.8 GHz, 4 GB"),
        4, 4096, 2 * 11.889, (2.9, 7.2),
        "HPL 11.889 GFLOPS and 7.2 W [geerling]; idle 575 mA at 5.1 V",
    ),
    _device(
        ("pi5", "Raspberry Pi 5, Cortex-A76, 4 cores, 2.4 GHz, 8 GB"),
        4, 8192, 2 * 30.249, (2.7, 11.0),
        "HPL 30.249 GFLOPS and 11 W [geerling]; idle power is an estimate",
    ),
    _device(
        ("pi-zero2w", "Raspberry Pi Zero 2 W, Cortex-A53, 4 cores, 1.0 GHz, 512 MB"),
        4, 512, 2 * 60.0 / 16 * 1.0 / 1.4, (0.6, 2.1),
        "the Pi 3 B+ (same cores) scaled by the clock; its own HPL, 0.37 GFLOPS and 2.1 W "
        "[geerling], was bound by swapping, not by the cores",
    ),
    _device(
        ("jetson-nano", "NVIDIA Jetson Nano, Cortex-A57, 4 cores, 1.43 GHz, 4 GB; GPU unused"),
        4, 4096, 2 * 16.0 * 1.43 / 1.73, (2.0, 5.0),
        "HPL 16.0 GFLOPS of the Jetson TX1 (same cores, 1.73 GHz) [cloutier] scaled by the clock; "
        "power [vendor]: CPU share of the 10 W mode",
    ),
    _device(
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano, Cortex-A78AE, 6 cores, 1.5 GHz, 8 GB; "
         "GPU unused"),
        6, 8192, 2 * 30.249 * (6 * 1.5) / (4 * 2.4), (4.0, 10.0),
        "the Pi 5 per core and clock (same SIMD width) [geerling]; power [vendor]: below the 15 W "
        "mode",
    ),
)  # fmt: skip

PROFILES: dict[str, Device] = {device.name: device for device in _DEVICES}
"""Every device by name, from the fast to the small."""


def device(name: str) -> Device:
    """The profile called `name`.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name in PROFILES:
        return PROFILES[name]
    close = difflib.get_close_matches(name, PROFILES, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise ValueError(f"'{name}' is no device; {hint}devices are {', '.join(PROFILES)}")
