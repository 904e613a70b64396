"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.errors import InputError
from edgenet.launchers.shaping import CHOICES

LAUNCHERS = ("local", "namespaces")
"""How `--launcher` has nodes started."""


def add_topology(parser: argparse.ArgumentParser, *, resumable: bool = False) -> None:
    """The topology file, and the options that change it; `--resume`, which can take its place."""
    if resumable:
        what = "topology file (YAML); with --resume it may be left out"
        parser.add_argument("topology", metavar="T", type=Path, nargs="?", help=what)
        parser.add_argument(
            "--resume",
            metavar="RUN",
            type=Path,
            help="go on with the run in this folder after the newest round of which every node has "
            "a sound checkpoint",
        )
    else:
        parser.add_argument("topology", metavar="T", type=Path, help="topology file (YAML)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="changes",
        action="append",
        default=[],
        help="change any field of the file: train.scheme=psl, nodes.learner.count=5 (repeatable)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the same as --set seed=N")
    parser.add_argument(
        "--shaping",
        choices=CHOICES,
        help="what slows the links down to their topology; the same as --set shaping=... "
        "(default: as the file says, else auto)",
    )


def topology_of(options: argparse.Namespace) -> Path:
    """T, or that of the run that is resumed.

    Raises:
        InputError: neither was given.
    """
    if options.topology is not None:
        return Path(options.topology)
    if options.resume is None:
        raise InputError("which topology? give its file T, or --resume RUN")
    return Path(options.resume) / "topology.yaml"


def add_run(parser: argparse.ArgumentParser, what: str) -> None:
    """RUN, the newest in runs if it is left out; `what` it is the folder of."""
    parser.add_argument("run", metavar="RUN", type=Path, nargs="?", help=what)


def add_out(parser: argparse.ArgumentParser) -> None:
    """`--out`."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="the run's folder <name>-<time> is made in here (default: runs)",
    )


def add_format(parser: argparse.ArgumentParser, what: str) -> None:
    """`--format`; `what` is the JSON object that goes to stdout."""
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help=f"json prints {what} on stdout and nothing else there (default: text)",
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """`--launcher`."""
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        help="how the nodes are started, as processes on this host: local = in its network; "
        "namespaces = in one network namespace each, joined by emulated links (root; default where "
        "the shaping needs it, else local)",
    )


def add_probe(parser: argparse.ArgumentParser) -> None:
    """`--probe`, `--no-probe` and `--probe-tolerance`."""
    parser.add_argument(
        "--probe",
        action=argparse.BooleanOptionalAction,
        help="measure every link before training, and do not train over links that are off; the "
        "same as --set probe.run=... (default: as the file says, else with netem and relay only)",
    )
    add_tolerance(parser)


def add_tolerance(parser: argparse.ArgumentParser) -> None:
    """`--probe-tolerance`."""
    parser.add_argument(
        "--probe-tolerance",
        metavar="PART",
        help="how far a link may be off; the same as --set probe.tolerance=... (default: 10 %%)",
    )


def overrides(options: argparse.Namespace) -> tuple[str, ...]:
    """`--set`s in order, then the options that are short for one."""
    more = []
    if options.seed is not None:
        more.append(f"seed={options.seed}")
    if options.shaping is not None:
        more.append(f"shaping={options.shaping}")
    if getattr(options, "probe", None) is not None:
        more.append(f"probe.run={str(options.probe).lower()}")
    if getattr(options, "probe_tolerance", None) is not None:
        more.append(f"probe.tolerance={options.probe_tolerance}")
    return (*options.changes, *more)
