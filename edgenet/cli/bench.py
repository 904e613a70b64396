"""Measure how fast this machine, or a device emulated on it, trains and multiplies.

sb trains the model on a few shards, as DAB's learners do; flops multiplies matrices. On a real
board, --save-profile writes down both, for topologies that emulate the board elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.arguments import add_format
from edgenet.devices import PROFILES, Device, device, write_profile
from edgenet.errors import DONE, InputError
from edgenet.units import format_flops

if TYPE_CHECKING:
    from edgenet.models.benchmarks import Workload

HELP = "measure this machine, or an emulated device, as learners do"
ALIASES = {"twonn": "two-nn-small"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--kind", choices=("sb", "flops"), default="sb", help="(default: sb)")
    parser.add_argument(
        "--model", default="twonn", help="what sb trains (default: twonn = two-nn-small)"
    )
    parser.add_argument("--shards", type=int, default=4, help="n of sb (default: 4)")
    parser.add_argument("--shard", type=int, default=500, help="samples a shard (default: 500)")
    parser.add_argument("--batch", type=int, default=32, help="(default: 32)")
    parser.add_argument("--device", default="host", help="emulate this one (default: host)")
    parser.add_argument(
        "--save-profile", type=Path, metavar="FILE", help="write this machine's profile as YAML"
    )
    add_format(parser, "the figures")


def execute(options: argparse.Namespace) -> int:
    """Measure and print."""
    found = figures(options)
    if options.save_profile is not None:
        profile = this_machine(options.save_profile.stem)
        write_profile(options.save_profile, profile)
        found["profile"] = str(options.save_profile)
    if options.format == "json":
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))
    return DONE


def figures(options: argparse.Namespace) -> dict[str, Any]:
    """What was measured, by name."""
    import torch

    from edgenet.models.benchmarks import matrix_rate, subset_rate

    torch.set_num_threads(1)
    target, workload = _target(options.device), _workload(options)
    if options.kind == "flops":
        rate = matrix_rate(_factor(matrix_rate(), target.matrix_flops))
        return {"device": target.name, "flops": rate, "rate": format_flops(rate)}
    from edgenet.models.calibrate import calibrate

    factor = _factor(calibrate(), target.training_flops)
    rate = subset_rate(workload, options.shards, factor)
    flops = rate * workload.shard_flop
    return {
        "device": target.name,
        "model": workload.model,
        "slowdown": round(factor, 3),
        "shards_per_s": rate,
        "samples_per_s": rate * workload.shard,
        "rate": format_flops(flops),
    }


def this_machine(name: str) -> Device:
    """This machine's profile, measured the way nodes train: on one thread."""
    import psutil
    import torch

    from edgenet.models.benchmarks import matrix_rate
    from edgenet.models.calibrate import calibrate

    torch.set_num_threads(1)
    return Device(
        name=name,
        description=f"{platform.machine()} {platform.processor()}".strip(),
        cores=os.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        matrix_flops=matrix_rate(),
        training_flops=calibrate(2.0),
        idle_w=None,
        load_w=None,
        source="measured by edgenet bench on one thread",
    )


def _target(name: str) -> Device:
    try:
        return device(name)
    except ValueError as error:
        raise InputError(f"--device: {error}") from None


def _workload(options: argparse.Namespace) -> Workload:
    from edgenet.models.benchmarks import Workload
    from edgenet.models.zoo import MODELS

    model = ALIASES.get(options.model, options.model)
    if model not in MODELS:
        choices = ", ".join([*ALIASES, *MODELS])
        raise InputError(f"--model: unknown model '{options.model}'; models are {choices}")
    for key in ("shards", "shard", "batch"):
        if getattr(options, key) < 1:
            raise InputError(f"--{key} is {getattr(options, key)}; it must be at least 1")
    return Workload(model=model, shard=options.shard, batch=options.batch)


def _factor(host_flops: float, flops: float | None) -> float:
    if flops is None:
        return 1.0
    if flops > host_flops:
        raise InputError(
            f"this machine is slower ({format_flops(host_flops)}) than the device "
            f"({format_flops(flops)}), so it cannot emulate it; devices are {', '.join(PROFILES)}"
        )
    return host_flops / flops
