"""Run a topology: one process a node, real links between them, results in a folder of their own.

Ctrl-C stops it in an orderly way (a second one at once); what was computed so far is kept, and
`edgenet run --resume RUN` goes on from the newest round of which every node has a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys

from edgenet.cli import arguments, watch
from edgenet.cli.audience import Audience
from edgenet.cli.hook import add_hook, load_hook
from edgenet.cli.show import print_summary
from edgenet.errors import EdgenetError
from edgenet.launchers.local import Local, Request

HELP = "run a topology on this host"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    arguments.add_topology(parser, resumable=True)
    arguments.add_out(parser)
    arguments.add_launcher(parser)
    arguments.add_probe(parser)
    arguments.add_format(parser, "the object of summary.json")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="serve a live page of the run, too (see `edgenet watch`); it ends with the run",
    )
    watch.add_port(parser)
    add_hook(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it, show it, and print what became of it."""
    quiet = options.format == "json"
    hook = None if options.hook is None else load_hook(options.hook)
    listener = watch.listening(options.port) if options.watch else None
    request = Request(
        path=arguments.topology_of(options),
        overrides=arguments.overrides(options),
        out=options.out,
        launcher=options.launcher,
        resume=options.resume,
    )
    with Audience(say, quiet=quiet, listener=listener, hook=hook) as audience:
        outcome = Local(say=say, show=audience.show).run(request)
        audience.end(outcome.summary)
    if quiet:
        print(json.dumps(outcome.summary, indent=2))
    else:
        print_summary(outcome.run, outcome.summary)
    if outcome.error is not None:
        raise Ended(outcome.error, outcome.exit_code)
    return outcome.exit_code


class Ended(EdgenetError):
    """The run ended otherwise than it should have; what it computed has been printed."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def say(line: str) -> None:
    """A line for the user, beside the command's answer."""
    print(f"edgenet: {line}", file=sys.stderr, flush=True)
