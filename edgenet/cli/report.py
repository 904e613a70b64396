"""Write report.html anew, of one run or of a comparison, and print where it lies.

The page is one file: no network, no scripts; it can be sent by mail and printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgenet.cli.arguments import add_run
from edgenet.cli.compare_files import listed, trial_of
from edgenet.errors import DONE, InputError
from edgenet.results.compare import Comparison
from edgenet.results.compare_report import compare_html
from edgenet.results.rundir import RunDir, latest_run, replacing
from edgenet.results.write import write_all

HELP = "write report.html of a run or a comparison"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_run(parser, "the folder of a run, or of a comparison (default: newest run in runs)")
    parser.add_argument(
        "--open",
        action="store_true",
        help='print the page\'s path only, for a browser: xdg-open "$(edgenet report --open)"',
    )


def execute(options: argparse.Namespace) -> int:
    """Write the page."""
    if options.run is not None and (options.run / "compare.json").is_file():
        page = _compared(options.run)
    else:
        page = _ran(latest_run("runs") if options.run is None else RunDir(options.run))
    print(page if options.open else f"report: {page}")
    return DONE


def _ran(run: RunDir) -> Path:
    if not run.run_json.is_file():
        raise InputError(
            f"{run.path}: no run.json and no compare.json there; give the folder of a run or of a "
            "comparison"
        )
    write_all(run)
    return run.report


def _compared(folder: Path) -> Path:
    """Of the runs that compare.csv lists; they may have moved along with the comparison."""
    about = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    trials = []
    for scheme, _, place in listed(folder):
        run = RunDir(folder / "runs" / Path(place).name)
        trials.append(trial_of(scheme, run if run.path.is_dir() else RunDir(place)))
    comparison = Comparison(
        topology=about["topology"],
        schemes=tuple(about["schemes"]),
        trials=tuple(trials),
        target=about["target"],
        baseline=about["baseline"],
    )
    with replacing(folder / "report.html") as out:
        out.write(compare_html(comparison, about))
    return folder / "report.html"
