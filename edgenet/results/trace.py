"""trace.json: the run in Chrome's trace-event format, for ui.perfetto.dev or chrome://tracing.

One process per node; in it one row each for compute, send, wait and evaluate, and a further row of
the same kind where spans overlap (several links at once). Rounds, faults and events are instants,
bytes and memory are counters. Times are microseconds since the first event of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from edgenet.results.events import Event, node_events
from edgenet.results.ledger import APART
from edgenet.results.rundir import SCHEMA_VERSION, RunDir, finite
from edgenet.results.tally import Tally

_ROWS = {"compute": 1, "send": 2, "wait": 3, "evaluate": 4}
_OTHER_ROW = 5
_LANES = 1000
"""Room for the rows of one kind: thread ids are kind x 1000 + lane."""


Since = Callable[[float], float]
"""Epoch seconds -> seconds since the run began (`Tally.since`)."""


def write_trace(file: TextIO, run: RunDir, tally: Tally) -> None:
    """Write the trace of `run`, one node after another."""
    file.write('{"displayTimeUnit": "ms", "otherData": ')
    json.dump({"schema_version": SCHEMA_VERSION, "run": run.path.name}, file)
    file.write(', "traceEvents": [')
    separator = "\n"
    for record in _records(run, tally):
        file.write(separator)
        json.dump(finite(record), file, separators=(",", ":"), allow_nan=False)
        separator = ",\n"
    file.write("\n]}\n")


def _records(run: RunDir, tally: Tally) -> Iterator[dict[str, Any]]:
    for pid, (name, node) in enumerate(tally.nodes.items(), start=1):
        title = f"{name} ({node.role}, {node.device})" if node.role else name
        yield _metadata("process_name", pid, 0, name=title)
        yield _metadata("process_sort_index", pid, 0, sort_index=pid)
        yield _metadata("thread_name", pid, 0, name="marks")
        yield from node_trace(node_events(run, name), pid, tally.since)
    if tally.changes:
        pid = len(tally.nodes) + 1
        yield _metadata("process_name", pid, 0, name="network")
        for event in tally.changes:
            ts = _microseconds(tally.since(event.t))
            yield _instant(event.text("says"), pid, ts, _figures(event))


def node_trace(events: Iterable[Event], pid: int, since: Since) -> Iterator[dict[str, Any]]:
    """The trace events of one node."""
    spans: dict[str, list[Event]] = {}
    counters = _Counters(pid)
    for event in events:
        ts = _microseconds(since(event.t))
        match event.name:
            case "span":
                spans.setdefault(_row(event), []).append(event)
            case "round":
                yield _instant(f"round {event.round}", pid, ts, _figures(event))
            case "fault":
                name = f"{event.text('peer')} {event.text('what')}"
                yield _instant(name, pid, ts, {"round": event.round, "why": event.text("why")})
            case "start" | "end" | "resumed":
                yield _instant(event.name, pid, ts, _figures(event))
            case "bytes" | "resources":
                yield from counters.count(event, ts)
    for row, group in spans.items():
        yield from _rows(row, group, pid, since)


def _row(span: Event) -> str:
    """The row it belongs to: a slow-down is a part of the device's computing."""
    kind = span.text("k")
    if kind == "idle" and span.text("n") == "slowdown":
        return "compute"
    return kind if kind in _ROWS else "other"


def _rows(row: str, spans: list[Event], pid: int, since: Since) -> Iterator[dict[str, Any]]:
    """Spans of one row, each in the first lane where it overlaps none or lies within another."""
    first = _ROWS.get(row, _OTHER_ROW) * _LANES
    lanes: list[list[int]] = []
    for event in sorted(spans, key=lambda span: (span.t, -(span.number("d") or 0.0))):
        ts = _microseconds(since(event.t))
        end = max(ts, ts + _microseconds(event.number("d") or 0.0))
        lane = _lane(lanes, ts, end)
        args: dict[str, Any] = {"round": event.round}
        if event.text("peer"):
            args["peer"] = event.text("peer")
        yield {
            "ph": "X",
            "name": event.text("n", row),
            "cat": event.text("k", row),
            "pid": pid,
            "tid": first + lane,
            "ts": ts,
            "dur": end - ts,
            "args": args,
        }
    for lane in range(len(lanes)):
        title = row if lane == 0 else f"{row} {lane + 1}"
        yield _metadata("thread_name", pid, first + lane, name=title)
        yield _metadata("thread_sort_index", pid, first + lane, sort_index=first + lane)


def _lane(lanes: list[list[int]], ts: int, end: int) -> int:
    """The row for a span; `lanes` holds the ends of the spans that are open on each, outermost
    first. Viewers draw spans of one row as a stack, so they may nest, but not cross."""
    for number, open_ends in enumerate(lanes):
        while open_ends and open_ends[-1] <= ts:
            open_ends.pop()
        if not open_ends or end <= open_ends[-1]:
            open_ends.append(end)
            return number
    lanes.append([end])
    return len(lanes) - 1


class _Counters:
    """Running sums of a node's bytes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._sums = {"out": {"payload": 0, "overhead": 0}, "in": {"payload": 0, "overhead": 0}}

    def count(self, event: Event, ts: int) -> Iterator[dict[str, Any]]:
        """The counter events that follow from a `bytes` or a `resources` event."""
        if event.name == "resources":
            values = {"resident": event.count("rss_bytes")}
            yield self._counter("memory in bytes", ts, values)
        elif event.text("dir") in self._sums and event.text("k") not in APART:
            sums = self._sums[event.text("dir")]
            for key in sums:
                sums[key] += event.count(key)
            yield self._counter(f"bytes {event.text('dir')}", ts, dict(sums))

    def _counter(self, name: str, ts: int, values: dict[str, int]) -> dict[str, Any]:
        return {"ph": "C", "name": name, "pid": self._pid, "tid": 0, "ts": ts, "args": values}


def _figures(event: Event) -> dict[str, Any]:
    return {key: value for key, value in event.fields.items() if key not in ("e", "t")}


def _instant(name: str, pid: int, ts: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "i", "s": "p", "name": name, "pid": pid, "tid": 0, "ts": ts, "args": args}


def _metadata(kind: str, pid: int, tid: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": args}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
