"""List the device profiles that a topology may name."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import psutil

from edgenet.cli.arguments import add_format
from edgenet.cli.tables import console, table
from edgenet.devices import PROFILES, Device, read_profile
from edgenet.devices.demand import usable_cores
from edgenet.errors import DONE, InputError
from edgenet.shaping import cgroups
from edgenet.units import format_flops, format_memory

HELP = "list the device profiles"
_COLUMNS = ("device", "what it is", "cores", "memory", "training", "matrix", "power")
_HERE = "as here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "files",
        metavar="FILE",
        type=Path,
        nargs="*",
        help="profiles that `edgenet bench --save-profile` wrote (default: those that come along)",
    )
    add_format(parser, "one object per device by name")


def execute(options: argparse.Namespace) -> int:
    """Print them."""
    found = [_read(path) for path in options.files] or list(PROFILES.values())
    if options.format == "json":
        print(json.dumps({device.name: dataclasses.asdict(device) for device in found}, indent=2))
        return DONE
    console().print(table(_COLUMNS, map(_row, found)))
    print("~ derived from other measurements; `--format json` has each number's source")
    print("\n".join(enforced()))
    return DONE


def _read(path: Path) -> Device:
    try:
        return read_profile(path)
    except ValueError as error:
        raise InputError(str(error)) from None


def enforced() -> tuple[str, ...]:
    """What of a profile this host can enforce, and how."""
    memory = format_memory(psutil.virtual_memory().total)
    return (
        f"on this host ({usable_cores()} cores, {memory}) a node is held to its device's",
        "  training speed: by sleeps after its CPU time, down from the speed of one core here",
        *_limits(),
        "  power: computed, not enforced",
    )


def _limits() -> tuple[str, ...]:
    trees = cgroups.find()
    if isinstance(trees, str):
        return (
            f"  memory: by a resource limit, and accounting once a second ({trees}); a node that",
            "  outgrows it ends",
            "  cores: not enforced; nodes compute on one thread",
        )
    cores = "not enforced: no control groups for CPU time are mounted here"
    if trees.cpu is not None:
        cores = "by a quota of the kernel; nodes compute on one thread"
    return (
        f"  memory: by the kernel (control groups, version {trees.version}); a node that outgrows "
        "it ends",
        f"  cores: {cores}",
    )


def _row(device: Device) -> tuple[str, ...]:
    return (
        device.name,
        device.description,
        _HERE if device.cores is None else str(device.cores),
        _HERE if device.memory_bytes is None else format_memory(device.memory_bytes),
        _flops(device, "training_flops"),
        _flops(device, "matrix_flops"),
        "unknown" if device.load_w is None else f"{device.idle_w:g}-{device.load_w:g} W",
    )


def _flops(device: Device, field: str) -> str:
    """The speed, after a ~ where it is derived."""
    flops: float | None = getattr(device, field)
    if flops is None:
        return _HERE
    return ("~" if field in device.derived else "") + format_flops(flops)
