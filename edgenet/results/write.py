"""Derives everything that a run leaves behind from the events of its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.results import tensorboard
from edgenet.results.details import gather
from edgenet.results.events import launcher_events, run_events
from edgenet.results.report import report_html
from edgenet.results.rounds import round_table, rounds_csv
from edgenet.results.rundir import RunDir, finite, replacing, write_json
from edgenet.results.summary import summarize
from edgenet.results.tally import Tally
from edgenet.results.trace import write_trace


def write_all(run_dir: Path | str | RunDir) -> dict[str, Any]:
    """Write summary.json, rounds.csv, trace.json, report.html and, where the extra is installed,
    TensorBoard's file; returns summary.json's object.

    May be called again at any time, also on a run that crashed or is still going on: the files are
    derived anew and each takes the place of the old one in one move.
    """
    run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
    about = run.run()
    tally = Tally(run_events(run), about.get("nodes"), launcher_events(run))
    summary: dict[str, Any] = finite(summarize(about, tally))
    table = round_table(tally)
    with replacing(run.rounds) as file:
        file.write(rounds_csv(table))
    with replacing(run.trace) as file:
        write_trace(file, run, tally)
    details = gather(tally, run_events(run))
    with replacing(run.report) as file:
        file.write(report_html(summary, table, about, details, _text(run.topology)))
    if tensorboard.available():
        tensorboard.write_tensorboard(run.tensorboard, table, tally.start_s)
    write_json(run.summary, summary)
    return summary


def _text(path: Path) -> str:
    """What a file holds; '' where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""
