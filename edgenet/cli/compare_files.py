"""What `edgenet compare` leaves in its folder, and what it finds there."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgenet.cli.show import read
from edgenet.errors import InputError
from edgenet.launchers.record import environment
from edgenet.results.compare import COLUMNS, WHOLE, Comparison
from edgenet.results.compare_plots import draw
from edgenet.results.compare_report import compare_html
from edgenet.results.compare_tables import latex, markdown, runs_csv
from edgenet.results.compare_trials import Trial, trial
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import SCHEMA_VERSION, RunDir, replacing, write_json
from edgenet.results.write import write_all


def listed(folder: Path) -> Iterator[tuple[str, int, str]]:
    """(scheme, seed, folder) of each run in a comparison's compare.csv; none where it is missing.

    Raises:
        InputError: the file is none that a comparison wrote.
    """
    path = folder / "compare.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                yield row["scheme"], int(row["seed"]), row["folder"]
            except (KeyError, TypeError, ValueError):
                raise InputError(
                    f"{path}:{number}: no scheme, seed and folder of a run there; remove the file: "
                    "runs are found again without it"
                ) from None


def trial_of(scheme: str, run: RunDir) -> Trial:
    """A run that has ended; what an earlier edgenet wrote about its energy is derived anew."""
    summary = read(run)
    told = [node["energy"] for node in summary["nodes"].values() if node["energy"] is not None]
    if any("outside_j" not in each for each in told) and any(run.nodes.glob("*/events.jsonl")):
        summary = write_all(run)
    return trial(scheme, str(run.path), summary, read_rounds(run.rounds))


def write(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Every file of the comparison; returns compare.json's object."""
    about = environment()
    files = {
        "report.html": compare_html(comparison, about),
        "compare.md": markdown(comparison),
        "compare.tex": latex(comparison),
        "compare.csv": runs_csv(comparison),
    }
    for name, text in files.items():
        with replacing(folder / name) as file:
            file.write(text)
    draw(comparison, folder)
    value = {
        "schema_version": SCHEMA_VERSION,
        "topology": comparison.topology,
        "target": comparison.target,
        "baseline": comparison.baseline,
        "schemes": {scheme: _figures(comparison, scheme) for scheme in comparison.schemes},
        **about,
    }
    write_json(folder / "compare.json", value)
    return value


def _figures(comparison: Comparison, scheme: str) -> dict[str, Any]:
    figures: dict[str, Any] = {"runs": comparison.count(scheme)}
    for column in (*COLUMNS, *WHOLE):
        spread = comparison.spread(scheme, column)
        figures[column.key] = (
            None
            if spread is None
            else {"mean": spread.mean, "deviation": spread.deviation, "values": spread.values}
        )
    return figures
