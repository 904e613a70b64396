"""Remove what launchers that were killed have left in the kernel: namespaces, with the interfaces
and queues in them, and relays. Only what a run has written down before it made it is touched, and
nothing of a run that goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from edgenet.cli.arguments import add_format
from edgenet.errors import DONE
from edgenet.shaping.record import Cleaned, clean

HELP = "remove what killed runs have left in the kernel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_format(parser, "a list of what was found")


def execute(options: argparse.Namespace) -> int:
    """Clean, and tell."""
    found = list(clean())
    if options.format == "json":
        print(json.dumps([asdict(each) for each in found], indent=2))
    elif not found:
        print("Nothing was left behind.")
    else:
        print("\n".join(map(_told, found)))
    return DONE


def _told(found: Cleaned) -> str:
    if found.in_use_by is not None:
        return f"{found.tag}: in use by process {found.in_use_by}; left as it is"
    if not found.removed:
        return f"{found.tag}: nothing was left but its record"
    return "\n".join(f"{found.tag}: removed {each}" for each in found.removed)
