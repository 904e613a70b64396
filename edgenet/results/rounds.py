"""rounds.csv: one line a round.

| column | holds |
| --- | --- |
| round | 1, 2, ... |
| t_s | seconds from the start of the run to the end of the round |
| wall_s | seconds that the round took |
| train_s | the same without the reporter's evaluation |
| loss | of the training; empty where it was not computed, or was not finite |
| test_loss, accuracy | of the test set, likewise; accuracy is a fraction of one |
| active | how many peers took part |
| payload_bytes, overhead_bytes | of all links, without evaluation |
| faults | how many faults were recorded in the round, by all nodes together |

Behind them stand the scheme's own figures, as far as they are single values; one that is a mapping
(`junction`: source -> norm of its columns) makes a column for each key, `junction.<source>`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenet.results.ledger import Volume
from edgenet.results.rundir import SCHEMA_VERSION
from edgenet.results.tally import RoundTally, Tally

COLUMNS = (
    "round",
    "t_s",
    "wall_s",
    "train_s",
    "loss",
    "test_loss",
    "accuracy",
    "active",
    "payload_bytes",
    "overhead_bytes",
    "faults",
)

VERSION = "schema_version"
"""The last column of the file."""

_WHOLE = ("round", "active", "payload_bytes", "overhead_bytes", "faults")


def round_table(tally: Tally) -> list[dict[str, Any]]:
    """One mapping a round, with the columns above; a missing figure is None."""
    volumes = tally.ledger.by_round()
    table = []
    for each in tally.rounds:
        volume = volumes.get(each.number, Volume())
        row = {
            "round": each.number,
            "t_s": round(tally.since(each.t), 6),
            "wall_s": round(each.wall_s, 6),
            "train_s": round(tally.train_s(each), 6),
            "loss": figure(each.fields.get("loss")),
            "test_loss": figure(each.fields.get("test_loss")),
            "accuracy": figure(each.fields.get("accuracy")),
            "active": active_count(each),
            "payload_bytes": volume.payload,
            "overhead_bytes": volume.overhead,
            "faults": sum(fault.round == each.number for fault in tally.faults),
        }
        table.append(row | _own(each))
    return table


def figure(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def active_count(each: RoundTally) -> int | None:
    """How many peers took part: `active` is their names, or their number; None if not said."""
    active = each.fields.get("active")
    if isinstance(active, list):
        return len(active)
    return active if isinstance(active, int) else None


def _own(each: RoundTally) -> dict[str, Any]:
    """The scheme's own figures."""
    flat: dict[str, Any] = {}
    for key, value in each.fields.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{part}": item for part, item in value.items()}
        elif key not in COLUMNS:
            flat[key] = value
    return {key: value for key, value in flat.items() if isinstance(value, str | int | float)}


def rounds_csv(table: list[dict[str, Any]]) -> str:
    """The table as CSV; the scheme's own columns in alphabetical order."""
    own = sorted({key for row in table for key in row} - set(COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *own, VERSION], restval="", lineterminator="\n")
    writer.writeheader()
    for row in table:
        cells = {key: _cell(value) for key, value in row.items()}
        writer.writerow({**cells, VERSION: SCHEMA_VERSION})
    return text.getvalue()


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """The table in a file that `rounds_csv` wrote: numbers, None where a cell is empty; the
    scheme's own columns that hold words stay text."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: _value(key, cell) for key, cell in row.items() if key != VERSION}
            for row in csv.DictReader(file)
        ]


def _value(key: str, cell: str) -> Any:
    if not cell:
        return None
    if key in _WHOLE:
        return int(cell)
    try:
        return float(cell)
    except ValueError:
        return cell


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value
