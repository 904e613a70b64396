"""List the device profiles that a topology may name."""

from __future__ import annotations

import argparse
import dataclasses
import json

from edgenet.cli.arguments import add_format
from edgenet.cli.tables import console, table
from edgenet.devices import PROFILES, Device
from edgenet.errors import DONE
from edgenet.units import format_flops, format_memory

HELP = "list the device profiles"
_COLUMNS = ("device", "what it is", "cores", "memory", "training speed", "power idle/busy")
_HERE = "as here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_format(parser, "one object per device by name")


def execute(options: argparse.Namespace) -> int:
    """Print them."""
    if options.format == "json":
        profiles = {name: dataclasses.asdict(device) for name, device in PROFILES.items()}
        print(json.dumps(profiles, indent=2))
        return DONE
    console().print(table(_COLUMNS, map(_row, PROFILES.values())))
    return DONE


def _row(device: Device) -> tuple[str, ...]:
    return (
        device.name,
        device.description,
        _HERE if device.cores is None else str(device.cores),
        _HERE if device.memory_bytes is None else format_memory(device.memory_bytes),
        _HERE if device.training_flops is None else format_flops(device.training_flops),
        "unknown" if device.load_w is None else f"{device.idle_w:g} / {device.load_w:g} W",
    )
