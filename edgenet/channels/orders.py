"""What a person orders for the links of a run that goes on (`edgenet watch`): `orders.jsonl`.

The launcher writes an order down once it has found it sound; links that pace themselves read it.
Its time counts like that of the topology's events.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict
from pathlib import Path

from edgenet.meters.journal import SCHEMA_VERSION
from edgenet.topology.spec import TimedEvent

_LOOK_S = 0.05


class Orders:
    """The orders of one run; safe to use from several threads.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "orders.jsonl"
        self._read, self._look_next = 0, 0.0
        self._lock = threading.Lock()

    def give(self, event: TimedEvent) -> None:
        """Write one down."""
        with self._path.open("a", encoding="utf-8") as file:
            line = {**asdict(event), "schema_version": SCHEMA_VERSION}
            file.write(json.dumps(line) + "\n")

    def new(self) -> list[TimedEvent]:
        """Those that have come since the last call; looks at the file now and then."""
        now = time.monotonic()
        if now < self._look_next or not self._lock.acquire(blocking=False):
            return []
        try:
            self._look_next = now + _LOOK_S
            return self._grown()
        finally:
            self._lock.release()

    def _grown(self) -> list[TimedEvent]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                lines = file.read()
        except FileNotFoundError:
            return []
        whole = lines.rfind(b"\n") + 1  # a line that is still being written waits
        self._read += whole
        return [_event(line) for line in lines[:whole].splitlines()]


def _event(line: bytes) -> TimedEvent:
    fields = json.loads(line)
    del fields["schema_version"]
    return TimedEvent(**{**fields, "nodes": tuple(fields["nodes"])})
