"""The devices that a topology may name, each number with its source.

Matrix rate (`matrix_flops`): single-precision product of large matrices on all cores, from
published High-Performance Linpack (HPL) results. HPL is double precision: twice its figure wherever
the SIMD unit holds twice as many single-precision numbers; once on the Pi 1, which has none.

Training rate (`training_flops`): from a measurement of its own, the time that the device takes for
a forward pass of AlexNet [ncnn] on all of its cores. That is the network rate; times
TRAINING_SHARE it is the rate at which PyTorch trains small models. The share was measured, on one
core of an x86 server: AlexNet (ncnn) 74 GFLOP/s, PyTorch training two small models 42 GFLOP/s
(`edgenet.models.calibrate`). The two rates differ in their ratio by up to 3 between devices, which
is what a benchmark of matrix products gets wrong.

No published training time of a common small model was found for these boards; so every training
rate is marked as derived, and one measured on a board (`edgenet bench --save-profile`) is better.

    [ncnn]       github.com/Tencent/ncnn, benchmark/README.md: AlexNet, average, all cores
    [allan]      github.com/aallan/benchmarking-ml-on-the-edge: TensorFlow, single precision,
                 MobileNet v1 and v2 on the Pi 3 B+, 4 and 5
    [geerling]   github.com/geerlingguy/top500-benchmark, README: HPL, with watts under load
    [reviews]    github.com/geerlingguy/sbc-reviews, issues 4 and 16: watts idle and under load
    [cloutier]   Cloutier, Paradis, Weaver: A Raspberry Pi Cluster Instrumented for Fine-Grained
                 Power Measurement, Electronics 5(4):61, 2016: HPL of one board
    [basford]    Basford et al.: Performance analysis of single board computer clusters, FGCS 2019:
                 16 boards reach up to 60 GFLOPS at 80 W
    [kreier]     kreier.github.io/benchmark/LinpackDP: HPL 3.85 GFLOPS on a Jetson Nano
    [madavi]     raspi.madavi.de/2015/07: HPL 0.267 GFLOPS on a Pi 1 B at 900 MHz with OpenBLAS
    [clblast]    lighthouseprep.net/rtx2070.html: 6786 GFLOPS, single-precision product of 4096x4096
                 on an RTX 2070 (CLBlast)
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
import math

from edgenet.devices.profile import Device

ALEXNET_FLOP = 1.448e9
"""Floating-point operations of one forward pass of AlexNet with its grouped convolutions, two for
each multiplication with addition."""

TRAINING_SHARE = 0.57
"""Part of the network rate that training a small model sustains: 42.6 of 74.5 GFLOP/s on one core
of an x86 server, ncnn's AlexNet against `edgenet.models.calibrate` (see above)."""

_PI5_TO_PI4 = math.sqrt(483.5 / 148.9 * 263.9 / 66.2)
"""How much faster a Pi 5 runs single-precision networks than a Pi 4 [allan]; on these cores [ncnn]
computes in half precision, which training does not."""

_PI4_MS = 76.40
"""AlexNet on the Pi 4 [ncnn]."""


def _device(
    names: tuple[str, str], size: tuple[int, int], matrix_gflops: float,
    alexnet_ms: float, power_w: tuple[float, float], source: str, derived: str = "",
) -> Device:  # fmt: skip
    """A profile from published figures: (name, description), (cores, MiB), ...,
    (idle, load), source; `derived` names what is derived besides the training rate."""
    return Device(
        name=names[0],
        description=names[1],
        cores=size[0],
        memory_bytes=size[1] * 1024 * 1024,
        matrix_flops=matrix_gflops * 1e9,
        training_flops=TRAINING_SHARE * ALEXNET_FLOP / (alexnet_ms * 1e-3),
        idle_w=power_w[0],
        load_w=power_w[1],
        source=source,
        derived=("training_flops", *derived.split()),
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
        ("rtx2070s", "NVIDIA RTX 2070 Super, 8 GB, in a desktop; a GPU, named for accounting"),
        (1, 8192), 6786.0 * 9.06 / 7.47, 2.30 * 10.07 / 9.06, (15.0, 215.0),
        "RTX 2070 [clblast] and RTX 2080, 2.30 ms [ncnn], both scaled by the makers' peak rates; "
        "power [vendor], of the card alone",
        "matrix_flops idle_w load_w",
    ),
    _device(
        ("workstation", "desktop, AMD Ryzen 5 5600X, 6 cores, 3.7 GHz, 32 GB"),
        (6, 32768), 2 * 229.0, 10.17 * 8 / 6, (60.0, 196.0),
        "HPL 229 GFLOPS and 196 W [geerling]; network: Ryzen 5700G, 10.17 ms [ncnn], scaled by the "
        "cores; idle power is an estimate",
        "idle_w",
    ),
    _device(
        ("edge-server", "Ampere Altra Q32-17, 32 cores, 1.7 GHz, 64 GB"),
        (32, 65536), 2 * 332.07, 6.93 * 2.6 / 1.7, (50.0, 100.0),
        "HPL 332.07 GFLOPS and 100 W [geerling]; network: Kunpeng 920, 32 threads at 2.6 GHz, "
        "6.93 ms [ncnn], scaled by the clock; idle power is an estimate",
        "idle_w",
    ),
    _device(
        ("laptop", "four-core laptop-class PC, Intel i5-7400T, 2.4 GHz, 8 GB"),
        (4, 8192), 2 * 72.472, 23.18 * 4.5 / 2.4 / (4 * 0.6), (10.0, 41.0),
        "HPL 72.472 GFLOPS and 41 W (Lenovo M710q) [geerling]; network: one core of an i7-7700K at "
        "4.5 GHz, 23.18 ms [ncnn], scaled to the clock and to four cores at 0.6; idle power is an "
        "estimate",
        "idle_w",
    ),
    _device(
        ("pi1", "Raspberry Pi 1 B, ARM1176, 1 core, 700 MHz, 512 MB"),
        (1, 512), 0.267 * 700 / 900,
        598.66 * 1.2 / 0.9 * 2 * 1.47 / (0.267 * 700 / 900), (2.1, 2.4),
        "HPL 0.267 GFLOPS at 900 MHz scaled to 700 MHz [madavi]; network: none published, the same "
        "part of the matrix rate as on the Pi 2; power [forum]",
        "matrix_flops",
    ),
    _device(
        ("pi2", "Raspberry Pi 2 B, Cortex-A7, 4 cores, 900 MHz, 1 GB"),
        (4, 1024), 2 * 1.47, 598.66 * 1.2 / 0.9, (1.1, 2.1),
        "HPL 1.47 GFLOPS [cloutier]; network: Banana Pi M2 Zero (same cores, 1.2 GHz), 598.66 ms "
        "[ncnn], scaled by the clock; power [pidramble]",
    ),
    _device(
        ("pi3", "Raspberry Pi 3 B+, Cortex-A53, 4 cores, 1.4 GHz, 1 GB"),
        (4, 1024), 2 * 60.0 / 16, 159.09, (3.1, 5.6),
        "HPL 60 GFLOPS over 16 boards, so 3.75 each, a lower bound [basford]; network 159.09 ms "
        "[ncnn]; power [reviews]",
    ),
    _device(
        ("pi4", "Raspberry Pi 4 B, Cortex-A72, 4 cores, 1.8 GHz, 4 GB"),
        (4, 4096), 2 * 11.889, _PI4_MS, (1.6, 7.2),
        "HPL 11.889 GFLOPS and 7.2 W [geerling]; network 76.40 ms [ncnn]; idle power [reviews]",
    ),
    _device(
        ("pi5", "Raspberry Pi 5, Cortex-A76, 4 cores, 2.4 GHz, 8 GB"),
        (4, 8192), 2 * 30.249, _PI4_MS / _PI5_TO_PI4, (2.7, 11.0),
        "HPL 30.249 GFLOPS and 11 W [geerling]; network: 3.6 times the Pi 4 [allan]; idle power is "
        "an estimate",
        "idle_w",
    ),
    _device(
        ("pi-zero2w", "Raspberry Pi Zero 2 W, Cortex-A53, 4 cores, 1.0 GHz, 512 MB"),
        (4, 512), 2 * 60.0 / 16 * 1.0 / 1.4, 272.18, (0.6, 2.1),
        "matrix: the Pi 3 B+ (same cores) scaled by the clock, as its own HPL, 0.37 GFLOPS and "
        "2.1 W [geerling], was bound by swapping; network 272.18 ms [ncnn]; idle power is an "
        "estimate",
        "matrix_flops idle_w",
    ),
    _device(
        ("jetson-nano", "NVIDIA Jetson Nano, Cortex-A57, 4 cores, 1.43 GHz, 4 GB; GPU unused"),
        (4, 4096), 2 * 16.0 * 1.43 / 1.73, 89.98, (2.0, 5.0),
        "HPL 16.0 GFLOPS of the Jetson TX1 (same cores, 1.73 GHz) [cloutier] scaled by the clock "
        "(HPL on a Nano itself, 3.85 GFLOPS [kreier], is below what its network rate needs: a "
        "library without kernels for these cores); network 89.98 ms on the CPU [ncnn]; power "
        "[vendor]: CPU share of the 10 W mode",
        "matrix_flops idle_w load_w",
    ),
    _device(
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano, Cortex-A78AE, 6 cores, 1.5 GHz, 8 GB; "
         "GPU unused"),
        (6, 8192), 2 * 30.249 * (6 * 1.5) / (4 * 2.4), _PI4_MS / _PI5_TO_PI4 * 15.02 / 21.36,
        (4.0, 10.0),
        "matrix: the Pi 5 per core and clock (same SIMD width) [geerling]; network: 1.42 times the "
        "Pi 5, 15.02 against 21.36 ms on the CPU [ncnn]; power [vendor]: below the 15 W mode",
        "matrix_flops idle_w load_w",
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
