"""List the runs in a folder, oldest first. Runs that still go on are shown with what is known."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgenet.cli.arguments import add_format
from edgenet.cli.show import read
from edgenet.cli.tables import console, print_fitting
from edgenet.errors import DONE, InputError
from edgenet.results import text
from edgenet.results.rundir import RunDir
from edgenet.results.rundir import runs as runs_in

HELP = "list the runs in a folder"
_COLUMNS = ("run", "scheme", "seed", "outcome", "rounds", "accuracy", "time", "sent", "energy")
_SPARE = ("seed", "energy", "sent", "rounds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="where the runs lie (default: runs)",
    )
    add_format(parser, "a list with one object a run")


def execute(options: argparse.Namespace) -> int:
    """Read or derive each summary, and print them."""
    folder: Path = options.folder
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds runs")
    found = [_about(run) for run in runs_in(folder)]
    if options.format == "json":
        print(json.dumps(found, indent=2))
        return DONE
    out = console()
    if not found:
        out.print(f"no runs in {folder}", markup=False)
        return DONE
    print_fitting(out, _COLUMNS, [_row(about) for about in found], _SPARE)
    return DONE


def _about(run: RunDir) -> dict[str, Any]:
    """The run's folder and the figures of the table."""
    summary = read(run)
    going_on = "exit_code" not in run.run()
    keys = ("topology", "scheme", "seed", "rounds", "rounds_asked", "accuracy", "wall_s")
    return {
        "run": str(run.path),
        "outcome": "going on, or killed" if going_on else summary["outcome"],
        **{key: summary[key] for key in keys},
        "sent_bytes": summary["bytes"]["total"],
        "energy_j": None if summary["energy_kwh"] is None else summary["energy_kwh"] * 3.6e6,
    }


def _row(about: dict[str, Any]) -> tuple[str, ...]:
    accuracy, joules = about["accuracy"], about["energy_j"]
    return (
        Path(about["run"]).name,
        str(about["scheme"]),
        str(about["seed"]),
        about["outcome"],
        f"{about['rounds']} of {about['rounds_asked']}",
        text.MISSING if accuracy is None else f"{100 * accuracy:.1f} %",
        text.seconds(about["wall_s"]),
        text.amount(about["sent_bytes"]),
        text.MISSING if joules is None else f"{joules:.0f} J",
    )
