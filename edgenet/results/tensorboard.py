"""The rounds of a run as a TensorBoard event file, behind the extra `tensorboard`.

The file is written with the tensorboard package alone: torch's writer would import torch, and
would name every file anew, so that deriving the results twice would show every curve twice.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgenet.errors import InputError

FILE = "events.out.tfevents.0.edgenet"

_TAGS = {
    "loss": "train/loss",
    "test_loss": "test/loss",
    "accuracy": "test/accuracy",
    "wall_s": "round/wall_s",
    "train_s": "round/train_s",
    "active": "round/active",
    "payload_bytes": "bytes/payload",
    "overhead_bytes": "bytes/overhead",
    "faults": "round/faults",
}


def available() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def write_tensorboard(folder: Path, table: list[dict[str, Any]], start_s: float) -> Path:
    """Write the figures of `table` (edgenet.results.rounds.round_table), step = round.

    Args:
        folder: where to; the file in it is replaced.
        table: one row a round.
        start_s: epoch seconds of the run's start, for TensorBoard's wall-clock axis.

    Raises:
        InputError: the tensorboard package is not there.
    """
    if not available():
        raise InputError(
            "TensorBoard files need the tensorboard package; run `pip install edgenet[tensorboard]`"
        )
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder.parent, prefix=".tensorboard.")
    with os.fdopen(handle, "wb") as file:
        writer = RecordWriter(file)
        for record in _records(table, start_s):
            writer.write(record)
    os.chmod(name, 0o644)
    os.replace(name, folder / FILE)
    return folder / FILE


def _records(table: list[dict[str, Any]], start_s: float) -> Iterator[bytes]:
    """Serialised events: the format's version, then one event per round."""
    from tensorboard.compat.proto import event_pb2, summary_pb2

    version = event_pb2.Event(wall_time=start_s, file_version="brain.Event:2")
    yield version.SerializeToString()
    for row in table:
        values = [
            summary_pb2.Summary.Value(tag=_TAGS.get(key, f"scheme/{key}"), simple_value=value)
            for key, value in row.items()
            if isinstance(value, int | float) and key not in ("round", "t_s")
        ]
        event = event_pb2.Event(
            wall_time=start_s + row["t_s"],
            step=row["round"],
            summary=summary_pb2.Summary(value=values),
        )
        yield event.SerializeToString()
