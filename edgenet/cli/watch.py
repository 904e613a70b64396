"""Show a run as a live page of this host's own browser: the network with its traffic, the nodes,
the curves, the log. While the run goes on, links can be degraded, cut and restored from there, and
nodes paused and killed; all of it is written down with the run.

The page is served on loopback alone, at an address that holds a random token: whoever has the
address may act on the run. It needs no network. Ctrl-C ends the page and not the run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
from typing import TYPE_CHECKING

from edgenet.cli.arguments import add_run
from edgenet.errors import DONE, InputError
from edgenet.results.rundir import RunDir, latest_run

if TYPE_CHECKING:
    from edgenet.web.server import Server

HELP = "show a run as a live page, with controls"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_run(parser, "the folder of a run, going on or finished (default: newest in runs)")
    add_port(parser)


def add_port(parser: argparse.ArgumentParser) -> None:
    """`--port`."""
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="of 127.0.0.1, for the live page (default: any that is free)",
    )


def execute(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    run = latest_run("runs") if options.run is None else RunDir(options.run)
    if not run.run_json.is_file():
        raise InputError(f"{run.path}: no run.json there; give the folder of a run")
    with serving(run, listening(options.port)) as server:
        print(f"watch: {server.url}\nCtrl-C ends the page, not the run.", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            print()
    return DONE


def listening(port: int) -> socket.socket:
    """A socket for the page.

    Raises:
        InputError: the extra is not installed, or the port cannot be had.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the live page needs {' and '.join(missing)}; run `pip install 'edgenet[watch]'`"
        )
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: ports go from 0 to 65535; leave it out for a free one")
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InputError(f"--port {port}: {why}; leave it out for a free one") from None


def serving(run: RunDir, listener: socket.socket) -> Server:
    """A server of a run's page, to be entered."""
    from edgenet.web.server import Server  # brings what the extra has

    return Server(run, listener)
