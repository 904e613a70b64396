"""Draw the timetable of a run as it happened: who computed what when, and where it waited; and what
each stage of a pipeline held in memory meanwhile.

The pictures are made from the nodes' events; trace.json in the same folder has every span, for
ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.errors import DONE, InputError
from edgenet.results.gantt import draw
from edgenet.results.rundir import RunDir
from edgenet.results.stages import draw_memory

HELP = "draw the timetable of a run as it happened"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument(
        "--round", type=int, default=1, metavar="N", help="which round (default: 1)"
    )
    parser.add_argument(
        "--batches",
        type=int,
        default=10,
        metavar="N",
        help="how many mini-batches from its start (default: 10)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="the picture (default: RUN/timetable.png)"
    )


def execute(options: argparse.Namespace) -> int:
    """Draw."""
    run = RunDir(options.run)
    if not run.nodes.is_dir():
        raise InputError(f"{options.run} is not the folder of a run: it has no nodes/")
    file = options.plot or run.path / "timetable.png"
    draw(run, file, number=options.round, batches=options.batches)
    print(file)
    memory = file.with_name(f"{file.stem}-memory{file.suffix}")
    if draw_memory(run, memory):
        print(memory)
    trace = run.path / "trace.json"
    if trace.exists():
        print(f"{trace}   (open it at https://ui.perfetto.dev)")
    return DONE
