"""A run, or several, as tables: CSV, or Parquet behind the extra `parquet`.

| table | one row for each |
| --- | --- |
| `rounds` | round: the columns of rounds.csv |
| `nodes` | node: its figures in summary.json; of `energy` the total and the source |
| `links` | direction between two nodes: payload, overhead, messages |
| `faults`, `changes` | fault; event or order |

Every row begins with `run`, `topology`, `scheme` and `seed`, so that runs can stand in one table,
and ends with `schema_version`.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.errors import InputError
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import SCHEMA_VERSION, RunDir, replacing

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TABLES = ("rounds", "nodes", "links", "faults", "changes")


def tables(runs: Sequence[tuple[RunDir, Mapping[str, Any]]]) -> Tables:
    """All tables of these runs.

    Args:
        runs: each run with its summary.json's object; rounds.csv is read.
    """
    found: Tables = {name: [] for name in TABLES}
    for run, summary in runs:
        head = {"run": run.path.resolve().name}
        head |= {key: summary[key] for key in ("topology", "scheme", "seed")}
        for name, rows in _rows(run, summary):
            found[name] += [head | row | {"schema_version": SCHEMA_VERSION} for row in rows]
    return found


def _rows(run: RunDir, summary: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "rounds", read_rounds(run.rounds)
    yield "nodes", [{"node": name, **_flat(node)} for name, node in summary["nodes"].items()]
    links = summary["bytes"]["per_link"]
    yield "links", [_link(name, volume) for name, volume in links.items()]
    for name in ("faults", "changes"):
        yield name, [_flat(each) for each in summary[name]]


def _link(name: str, volume: Mapping[str, int]) -> Row:
    source, _, target = name.partition("->")
    return {"source": source, "target": target, **{f"{key}_bytes" if key != "messages" else key:
            value for key, value in volume.items()}}  # fmt: skip


def _flat(value: Mapping[str, Any]) -> Row:
    """Without what is a mapping; lists as words."""
    row: Row = {}
    for key, item in value.items():
        if key == "energy" and isinstance(item, Mapping):
            row["energy_source"] = item["source"]
        elif isinstance(item, list):
            row[key] = " ".join(map(str, item))
        elif not isinstance(item, Mapping):
            row[key] = item
    return row


def write_csv(folder: Path, found: Tables) -> list[Path]:
    """One `<table>.csv` each; returns what was written. An empty table has no file."""
    return [_csv(folder / f"{name}.csv", rows) for name, rows in found.items() if rows]


def _csv(path: Path, rows: list[Row]) -> Path:
    with replacing(path) as file:
        writer = csv.DictWriter(file, _columns(rows), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(folder: Path, found: Tables) -> list[Path]:
    """One `<table>.parquet` each; as `write_csv`.

    Raises:
        InputError: the extra is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("Parquet needs pyarrow; run `pip install 'edgenet[parquet]'`, or take csv")
    import pyarrow
    from pyarrow import parquet

    written = []
    for name, rows in found.items():
        if rows:
            columns = {key: pyarrow.array([row.get(key) for row in rows]) for key in _columns(rows)}
            for key, column in columns.items():
                if pyarrow.types.is_null(column.type):  # nobody reported it: figures are numbers
                    columns[key] = column.cast(pyarrow.float64())
            table = pyarrow.table(columns, metadata={"schema_version": str(SCHEMA_VERSION)})
            written.append(folder / f"{name}.parquet")
            parquet.write_table(table, written[-1])
    return written


def _columns(rows: Sequence[Row]) -> list[str]:
    """All keys, in the order in which they first come; the version last."""
    known = dict.fromkeys(key for row in rows for key in row if key != "schema_version")
    return [*known, "schema_version"]


WRITERS: Mapping[str, Callable[[Path, Tables], list[Path]]] = {
    "csv": write_csv,
    "parquet": write_parquet,
}
"""Format -> what writes it."""
