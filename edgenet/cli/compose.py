"""Write a compose file that runs a topology in containers on one host: a service for each node,
with the cores and the memory of its device.

launch/compose.sh writes the file, runs it and brings the results. By hand, where the image is
built (launch/image.sh): `EDGENET_KEY=<a random secret> docker-compose up`; the run's folder is in
the volume `runs`. The paths in the file are relative to the folder in which it lies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.arguments import add_topology, overrides
from edgenet.errors import DONE, InputError
from edgenet.topology import load

HELP = "write a compose file: each node a container"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_topology(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write it there (default: stdout; then it belongs into this folder)",
    )


def execute(options: argparse.Namespace) -> int:
    """Load, resolve, write."""
    from edgenet.launchers import compose, shaping  # bring torch, which other commands do without
    from edgenet.node.plan import resolve

    changes = overrides(options)
    topology = load(options.topology, changes)
    if not options.topology.is_file():
        raise InputError(f"{options.topology}: is a pipe or a device; containers need a file")
    shaping.check_still(topology)
    plan = resolve(topology)
    written = compose.text(
        compose.Request(
            plan=plan,
            overrides=(*changes, *plan.settled),  # every container reads the file for itself
            folder=Path() if options.output is None else options.output.parent,
            net_admin=shaping.shapes_own_interface(topology),
        )
    )
    if options.output is None:
        print(written, end="")
    else:
        options.output.write_text(written, encoding="utf-8")
    return DONE
