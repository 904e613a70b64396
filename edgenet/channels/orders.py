"""What a person orders for the links of a run that goes on (`edgenet watch`): `orders.jsonl`.

The launcher writes an order down once it has found it sound; links that pace themselves read it.
Its time counts like that of the topology's events.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from edgenet.meters.journal import SCHEMA_VERSION
from edgenet.topology.spec import TimedEvent

_LOOK_S = 0.05


class Orders:
    """The orders of one run; safe to use from several threads.

    Args:
        run_dir: the run's folder.
        names: device's name in the topology's file -> what it is called since a spare took a place.
    """

    def __init__(self, run_dir: Path, names: Mapping[str, str] | None = None) -> None:
        self._path, self._names = run_dir / "orders.jsonl", names or {}
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
        return [self._event(line) for line in lines[:whole].splitlines()]

    def _event(self, line: bytes) -> TimedEvent:
        fields = json.loads(line)
        del fields["schema_version"]
        nodes = tuple(self._names.get(node, node) for node in fields["nodes"])
        return TimedEvent(**{**fields, "nodes": nodes})
