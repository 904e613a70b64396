"""A node's journal: one JSON object a line, appended to `nodes/<name>/events.jsonl`.

Every table, plot, trace and summary is computed from these lines afterwards, so a scheme carries
no metric dictionaries and a run that was killed still tells what it had done.

The first line that a process writes has `schema_version`, too. Every line has `e` (the event's
name), `t` (seconds since the epoch, wall clock) and `r` (the round the node was in, 0 before the
first). The events that the code writes, and their own fields:

| e | fields |
| --- | --- |
| `start` | node, role, device, pid, host, slowdown |
| `resumed` | after (a round): the run goes on after it; what the node did later counts no more |
| `checkpoint` | bytes, write_s: the node as it was after round r is on the disk |
| `linked` | peer |
| `joined` | the node has all its links; times of the topology's events count from the last one's |
| `share` | samples, labels (samples of each label): the data that the node trains on |
| `span` | k (compute, recompute, send, wait, evaluate, idle), n (what), d (s), peer?; t: start |
| `round` | loss?, accuracy?, active (names of the peers that took part), and the scheme's own |
| `bytes` | peer, dir (out, in), k (kind), payload, overhead, messages, of round r; they add up. \
copied_payload?, copied_overhead?: the part that a medium's broadcast would have saved; \
later_bytes?, later_s?: of what came in several frames, the bytes behind the first, and their time |
| `traffic` | peer, out, in: bytes that crossed the link since it stands, about once a second |
| `doing` | k (kinds of the spans that are open now), about once a second |
| `fault` | peer, what (lost, left, silent, late, refused, dropped), why |
| `resources` | cpu_s, rss_bytes, peak_rss_bytes, pss_bytes?, peak_weight_bytes?, ... |
| `memory` | versions, scratch, stash, saved, optimiser (bytes), live (versions): of a stage |
| `emulated` | device_s, behind_s: what the work takes on the device, and how much longer it took |
| `probe` | a row of the probe's table: source, target, over, asked, measured, off, ... |
| `probed` | refused (a sentence, or empty), seconds |
| `benchmark` | shards, c, b: what a learner measured of itself (DAB's c_k, b_k) |
| `worked` | shards, passes, download_s, train_s: a learner's round (DAB) |
| `log` | level, text |
| `end` | status (done, failed, interrupted), error?, code, silent? or lost? (the peer that was) |
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from edgenet.errors import CannotWrite
from edgenet.meters.clock import RunClock

SCHEMA_VERSION = 1
"""Of the files that a run leaves (docs/schema.md); rises when a key changes its meaning or goes."""


class Journal:
    """Appends events; keeps the current round. Safe to use from several threads.

    When the file cannot be written any more, whatever the thread that made the journal records
    raises CannotWrite from then on: a run must not go on without a record of it. On other threads,
    which could not end the node, nothing happens.

    Args:
        path: the file to append to; None keeps no file (tests, in-memory runs).
        clock: the run's; None: the wall clock as it is now.
        flush_s: a line waits at most this long in the buffer if other lines follow it; `flush`
            and every `round`, `fault`, `start` and `end` write at once.
    """

    _URGENT = frozenset(
        {
            "start",
            "resumed",
            "linked",
            "joined",
            "began",
            "change",
            "restarted",
            "round",
            "fault",
            "end",
        }
    )

    def __init__(
        self, path: Path | None = None, *, clock: RunClock | None = None, flush_s: float = 0.5
    ) -> None:
        self.round = 0
        self._lock = threading.Lock()
        self._flush_s = flush_s
        self._flushed = time.monotonic()
        self._offset = (clock or RunClock()).offset_s
        self._owner = threading.get_ident()
        self._failed: str | None = None
        self._open: dict[object, str] = {}
        self._within = False
        self._head: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        self._file: TextIO | None = None
        self._path = path
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise CannotWrite(path, error.strerror) from None

    def now(self) -> float:
        """Seconds since the epoch on a clock that never jumps within a run."""
        return time.monotonic() + self._offset

    def event(self, name: str, **fields: Any) -> None:
        """Append one event; `t` and `r` may be given to override now and the current round.

        Raises:
            CannotWrite: on the thread that made the journal.
        """
        if self._file is None or (self._within and name == "span"):
            return
        record = {"e": name, "t": round(self.now(), 6), "r": self.round, **fields}
        with self._lock:
            if self._file.closed:
                return
            if self._failed is None:
                self._append(self._file, record, name in self._URGENT)
        if self._failed is not None and threading.get_ident() == self._owner:
            raise CannotWrite(self._path, self._failed)

    def _append(self, file: TextIO, record: dict[str, Any], urgent: bool) -> None:
        line = json.dumps({**record, **self._head}, separators=(",", ":"))
        self._head = {}
        now = time.monotonic()
        try:
            file.write(line + "\n")
            if urgent or now - self._flushed > self._flush_s:
                file.flush()
                self._flushed = now
        except OSError as error:
            self._failed = error.strerror or str(error)

    @contextmanager
    def span(self, kind: str, name: str, **fields: Any) -> Iterator[None]:
        """Record how long the body took, also when it raises."""
        start, round_ = time.monotonic(), self.round
        token = object()
        self._open[token] = kind
        try:
            yield
        finally:
            took = time.monotonic() - start
            del self._open[token]
            at = round(start + self._offset, 6)
            self.event("span", k=kind, n=name, t=at, r=round_, d=round(took, 6), **fields)

    @contextmanager
    def phase(self, kind: str, name: str) -> Iterator[None]:
        """One span in the place of all that the body would record: it is the testbed's own."""
        with self.span(kind, name):
            self._within = True
            try:
                yield
            finally:
                self._within = False

    def doing(self) -> None:
        """Record the spans that are open, so that a live view knows what a long one is about."""
        self.event("doing", k=sorted(set(self._open.copy().values())))

    def flush(self) -> None:
        """Write what waits in the buffer to the file."""
        with self._lock:
            if self._file is not None and not self._file.closed:
                with suppress(OSError):  # the next event meets the same
                    self._file.flush()

    def close(self) -> None:
        """Flush and close; later events are dropped."""
        with self._lock, suppress(OSError):  # what it could not write has been told of, or is
            if self._file is not None:  # younger than the last word that mattered
                self._file.close()
