"""Write report.html anew, of one run or of a comparison, and print where it lies.

The page is one file: no network, no scripts; it can be sent by mail and printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.errors import DONE, InputError
from edgenet.results.rundir import RunDir, latest_run
from edgenet.results.write import write_all

HELP = "write report.html of a run or a comparison"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "run",
        metavar="RUN",
        type=Path,
        nargs="?",
        help="the folder of a run, or of a comparison (default: newest run in runs)",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help='print the page\'s path only, for a browser: xdg-open "$(edgenet report --open)"',
    )


def execute(options: argparse.Namespace) -> int:
    """Write the page."""
    run = latest_run("runs") if options.run is None else RunDir(options.run)
    if not run.run_json.is_file():
        raise InputError(f"{run.path}: no run.json there; give the folder of a run")
    write_all(run)
    print(run.report if options.open else f"report: {run.report}")
    return DONE
