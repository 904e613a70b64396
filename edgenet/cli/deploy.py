"""Run a topology on boards: check each of them, install edgenet where it is missing, start torchrun
on all, and gather the results here. Ctrl-C stops all of them; what was computed is gathered.

    edgenet deploy T --hosts hosts.yaml --check-only
    edgenet deploy T --hosts hosts.yaml
    edgenet deploy --hosts hosts.yaml --resume RUN

Boards are reached by ssh as `ssh NAME` reaches them: your configuration, keys and jump hosts apply.
hosts.yaml says which board carries which nodes; docs/boards.md shows it. On a board everything lies
in ~/.edgenet. Nothing is installed or started anywhere while one board fails its check. A run that
was stopped or killed goes on by --resume: the boards keep what its nodes have saved.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgenet.cli import arguments
from edgenet.cli.run import Ended, say
from edgenet.cli.show import print_summary
from edgenet.errors import DONE

HELP = "run a topology on boards, over ssh or their agents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    arguments.add_topology(parser, resumable=True)
    parser.add_argument(
        "--hosts", type=Path, required=True, metavar="FILE", help="the boards (YAML)"
    )
    arguments.add_out(parser)
    arguments.add_probe(parser)
    _add_ways(parser)
    parser.add_argument("--check-only", action="store_true", help="check the boards, and end")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="install from the wheels in this folder, for boards without a way to an index",
    )
    parser.add_argument(
        "--torch-index",
        default="",
        metavar="URL",
        help="a further index for pip on the boards, like https://download.pytorch.org/whl/cpu",
    )
    parser.add_argument(
        "--max-restarts",
        type=int,
        default=0,
        metavar="N",
        help="when a node fails, go on from what was saved, or anew, up to N times (default: 0)",
    )


def _add_ways(parser: argparse.ArgumentParser) -> None:
    """How boards are reached, and reach each other."""
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="holds the cluster's secret, for hosts with `agent: address:port`",
    )
    parser.add_argument(
        "--wireguard",
        action="store_true",
        help="encrypt everything between the boards: tunnels for the time of the run (root there)",
    )
    parser.add_argument(
        "--ssh", default="ssh", metavar="COMMAND", help="the client and its options (default: ssh)"
    )


def execute(options: argparse.Namespace) -> int:
    """Deploy, and print what became of it."""
    from edgenet.launchers.boards.deploy import Deployment, Request  # brings torch

    request = Request(
        path=arguments.topology_of(options),
        hosts=options.hosts,
        overrides=arguments.overrides(options),
        out=options.out,
        check_only=options.check_only,
        bundle=options.bundle,
        index=options.torch_index,
        key_file=options.key_file,
        wireguard=options.wireguard,
        ssh=options.ssh,
        restarts=options.max_restarts,
        resume=options.resume,
    )
    outcome = Deployment(say, _tell).run(request)
    if outcome is None:
        return DONE
    print_summary(outcome.run, outcome.summary)
    if outcome.error is not None:
        raise Ended(outcome.error, outcome.exit_code)
    return DONE


def _tell(board: str, line: str) -> None:
    print(f"{board}| {line}", file=sys.stderr, flush=True)
