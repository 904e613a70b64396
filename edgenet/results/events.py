"""Reads what the nodes wrote: `nodes/<name>/events.jsonl` (its fields: edgenet.meters.journal).

A node may have been killed in the middle of a line, and may have been started again on the same
file afterwards. A line that is no event is passed over; nothing here fails because of one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgenet.results.rundir import RunDir

_START = b'{"e":'
_TAIL = 65536


@dataclass(frozen=True)
class Event:
    """One line of a node's journal."""

    node: str
    """Who wrote it: the name of its folder."""
    name: str
    """`e`: start, span, round, ..."""
    t: float
    """Seconds since the epoch; a span's start."""
    round: int
    """0 before the first."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """All fields of the line, unchecked; the three methods below give them a type."""

    def text(self, key: str, default: str = "") -> str:
        """A field as text; `default` if it is missing."""
        value = self.fields.get(key)
        return default if value is None else str(value)

    def number(self, key: str) -> float | None:
        """A field as a number (NaN and infinities included); None if it is missing or none."""
        value = self.fields.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value)

    def count(self, key: str) -> int:
        """A field as a whole number of at least 0; 0 if it is missing or none."""
        value = self.number(key)
        return int(value) if value is not None and 0 <= value < math.inf else 0

    def names(self, key: str) -> tuple[str, ...]:
        """A field that lists names; empty if it is missing or no list."""
        value = self.fields.get(key)
        return tuple(map(str, value)) if isinstance(value, list) else ()


def parse(node: str, line: bytes) -> Event | None:
    """The event in one line; None if there is none.

    Where a torn line runs into the first one of the next life, the latter is what counts.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        start = line.rfind(_START)
        return parse(node, line[start:]) if start > 0 else None
    if not isinstance(fields, dict):
        return None
    t, round_ = fields.get("t"), fields.get("r", 0)
    if not isinstance(t, int | float) or not math.isfinite(t) or not isinstance(round_, int):
        return None
    return Event(node, str(fields.get("e", "")), float(t), round_, fields)


def node_names(run: RunDir) -> list[str]:
    """Nodes that have a folder, in the order of their names (cam2 before cam10)."""
    if not run.nodes.is_dir():
        return []
    return sorted((entry.name for entry in os.scandir(run.nodes) if entry.is_dir()), key=natural)


def natural(name: str) -> tuple[str, int, str]:
    """Sort key that counts the number at the end of a name as one."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits) if digits else -1, name


def node_events(run: RunDir, name: str) -> Iterator[Event]:
    """The events of one node, in the order in which they were written."""
    path = run.events(name)
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            event = parse(name, line)
            if event is not None:
                yield event


def last_events(path: Path) -> list[Event]:
    """The whole lines among the last 64 KiB of a journal, in order; none where there is none."""
    lines = tail(path).split(b"\n")
    return [event for line in lines if (event := parse("", line)) is not None]


def tail(path: Path) -> bytes:
    """The last 64 KiB of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read()
    except OSError:
        return b""


def run_events(run: RunDir) -> Iterator[Event]:
    """The events of all nodes, node by node; never more than one line in memory."""
    for name in node_names(run):
        yield from node_events(run, name)


def launcher_events(run: RunDir) -> Iterator[Event]:
    """What happened to the network during the run (written by edgenet.launchers.conductor)."""
    if not run.events_file.is_file():
        return
    with run.events_file.open("rb") as file:
        for line in file:
            event = parse("", line)
            if event is not None:
                yield event


class Tail:
    """Follows the journals of a run: only files that have grown are opened again.

    Args:
        run: the run; its folder may still be empty.
        launcher: the launcher's journal as well; its events are those of node ''.
    """

    def __init__(self, run: RunDir, *, launcher: bool = False) -> None:
        self._run, self._launcher = run, launcher
        self._read: dict[Path, int] = {}

    def skip(self) -> None:
        """Pass over what is there already: it is of an earlier attempt at the run."""
        for name in node_names(self._run):
            path = self._run.events(name)
            if path.is_file():
                self._read[path] = path.stat().st_size

    def new(self) -> list[Event]:
        """Events whose lines became whole since the last call, oldest first."""
        found: list[Event] = []
        journals = {name: self._run.events(name) for name in node_names(self._run)}
        if self._launcher:
            journals[""] = self._run.events_file
        for name, path in journals.items():
            try:
                size = path.stat().st_size
            except OSError:
                continue
            if size > self._read.get(path, 0):
                found.extend(self._grown(name, path))
        return sorted(found, key=lambda event: event.t)

    def _grown(self, name: str, path: Path) -> Iterator[Event]:
        start = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(start)
            lines = file.read()
        whole = lines.rfind(b"\n") + 1  # a line that is still being written waits
        self._read[path] = start + whole
        for line in lines[:whole].split(b"\n"):
            event = parse(name, line)
            if event is not None:
                yield event
