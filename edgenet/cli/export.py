"""Write runs as tables for other programs, or give them to a tracker.

  edgenet export RUN... --to parquet --out DIR
  edgenet export RUN --hook tracker.py

The first writes rounds, nodes, links, faults and changes, a file each. The tables of several runs
stand in one file; the columns run, topology, scheme and seed tell them apart. The same hook follows
a run that goes on: `edgenet run T --hook tracker.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.hook import Hooked, add_hook, load_hook
from edgenet.cli.run import say
from edgenet.cli.show import read
from edgenet.errors import DONE
from edgenet.results.export import WRITERS, tables
from edgenet.results.rundir import RunDir, latest_run

HELP = "write runs as tables (CSV, Parquet), or give them to a tracker"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "run", metavar="RUN", type=Path, nargs="*", help="folders of runs (default: newest in runs)"
    )
    parser.add_argument(
        "--to", choices=tuple(WRITERS), default="csv", help="how tables are written (default: csv)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("export"),
        metavar="DIR",
        help="where tables go; files of these names are replaced (default: export)",
    )
    add_hook(parser)


def execute(options: argparse.Namespace) -> int:
    """Write, or give."""
    folders = [RunDir(path) for path in options.run] or [latest_run("runs")]
    runs = [(run, read(run)) for run in folders]
    if options.hook is not None:
        hook = load_hook(options.hook)
        for run, summary in runs:
            Hooked(run, hook, say).end(summary)
        return DONE
    options.out.mkdir(parents=True, exist_ok=True)
    for path in WRITERS[options.to](options.out, tables(runs)):
        print(path)
    return DONE
