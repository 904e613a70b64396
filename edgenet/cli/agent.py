"""Wait on this board for topologies from those who hold the cluster's key, and run them: a service
for boards that stay in the testbed (launch/edgenet-agent.service is its systemd unit).

    openssl rand -hex 32 > cluster.key; chmod 600 cluster.key        the same file on every board
    edgenet agent --key-file cluster.key --listen 0.0.0.0:29400

`edgenet deploy T --hosts hosts.yaml --key-file cluster.key` uses it for hosts with `agent:
address:port`. One topology at a time; code, paths and commands are taken from nobody. SIGTERM ends
a run that is under way, and then the agent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.run import say
from edgenet.errors import DONE, InputError
from edgenet.units import parse_time

HELP = "wait on this board for topologies from the cluster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--key-file", required=True, metavar="FILE", type=Path, help="holds the cluster's secret"
    )
    parser.add_argument(
        "--listen",
        default="127.0.0.1:29400",
        metavar="ADDRESS:PORT",
        help="where; port 0 takes a free one and says which (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        default="1 h",
        metavar="TIME",
        help="a run is ended after it (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        default="",
        metavar="DIR",
        help="the datasets of this board (default: EDGENET_DATA)",
    )


def execute(options: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from edgenet.launchers.boards.agent import Agent
    from edgenet.launchers.boards.sealed import read_key
    from edgenet.launchers.supervisor import StopSignals
    from edgenet.links.listener import listen

    key, where = read_key(options.key_file), options.listen
    host, _, port = where.rpartition(":")
    try:
        limit_s = parse_time(options.limit)
    except ValueError as error:
        raise InputError(f"--limit {options.limit}: {error}") from None
    try:
        sock = listen(host.strip("[]"), int(port))
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(f"--listen {where}: {error}; write ADDRESS:PORT of this board") from None
    with StopSignals() as stop:
        agent = Agent(sock, key, limit_s, options.data, stop, say)
        say(f"the agent listens at {agent.address[0]}:{agent.address[1]}")
        agent.wait()
    return DONE
