"""Mahimahi's packet-delivery traces: the recording of a link as a text file.

One whole number a line: the millisecond at which one packet of 1500 bytes can be delivered. They
never go back, the same one may come again, and after the last the trace starts over (Netravali et
al., Mahimahi, USENIX ATC 2015; mm-link(1)). A file is read line by line and counted by
intervals: what is kept does not grow with its rate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgenet.errors import TopologyError
from edgenet.topology.document import Entry
from edgenet.topology.section import Section, show
from edgenet.topology.spec import Trace
from edgenet.units import parse_time

PACKET_BITS = 1500 * 8
"""What one delivery opportunity carries."""

INTERVAL_S = 0.1
"""Opportunities are counted by intervals of about this length, unless the file says another."""

MAX_INTERVALS = 20_000
"""Half an hour by 100 ms."""

MAX_LINES = 20_000_000
"""400 Mbit/s for ten minutes."""

LEAST_BPS = 64e3
"""A slower trace is refused, and a rate that follows a trace or fading never falls below: at this
one a full packet takes 0.19 s, longer than the intervals are."""

_LINE_BYTES = 32
_COUNTS = re.compile(r"\d{1,7}( \d{1,7})*")


def read_trace(path: Path, interval_s: float = INTERVAL_S) -> Trace:
    """A trace file, counted by the whole number of intervals that comes nearest to `interval_s`.

    Raises:
        TopologyError: not readable, or not such a trace: file, line and what it must be.
    """
    try:
        with path.open("rb") as file:
            period_ms = max(_times(path, file), default=0)  # reads, and so checks, all of it
            if period_ms == 0:
                raise TopologyError(
                    f"{path}: ends at 0 ms; a trace needs a last line above 0, at which it repeats"
                )
            count = _intervals(path, period_ms, interval_s)
            file.seek(0)
            packets = [0] * count
            for time_ms in _times(path, file):
                packets[min(time_ms * count // period_ms, count - 1)] += 1
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise TopologyError(f"{path}: {reason}; give the path of a trace file") from None
    return _sound(str(path), Trace(period_s=period_ms / 1e3, packets=tuple(packets)))


def read_profile(section: Section, folder: Path) -> dict[str, Any]:
    """The `trace` of a link: {'up': Trace, 'down': Trace}; paths are relative to `folder`."""
    inner = section.section("trace", f"{section.label}: trace")
    assert inner is not None
    inner.only("up", "down", "interval")
    interval_s = inner.quantity("interval", parse_time)
    if interval_s is not None and not 0.02 <= interval_s <= 10:
        raise inner.fail("has an interval that is not between 20 ms and 10 s", "interval")
    found = {
        way: _way(inner, way, folder, INTERVAL_S if interval_s is None else interval_s)
        for way in ("up", "down")
        if way in inner
    }
    if not found:
        raise inner.fail("names no file; write trace: {up: uplink.trace, down: downlink.trace}")
    return found


def _way(section: Section, way: str, folder: Path, interval_s: float) -> Trace:
    """One direction: a file, or (as `dump` writes it) what was counted in one."""
    entry = section.get(way)
    assert entry is not None
    if isinstance(entry.value, dict):
        return _counted(Section(entry, f"{section.label}: {way}"))
    if not isinstance(entry.value, str):
        raise section.fail(f"has {way} {show(entry.value)}; it must be a path", way)
    try:
        return read_trace(folder / entry.value, interval_s)
    except TopologyError as error:
        raise section.fail(f"cannot be read: {error}", way) from None


def _counted(section: Section) -> Trace:
    section.only("period", "packets")
    period_s, text = section.quantity("period", parse_time), _plain(section.get("packets"))
    if not period_s or not _COUNTS.fullmatch(text):
        raise section.fail("needs a period above 0 and packets: numbers with blanks between them")
    packets = tuple(map(int, text.split()))
    if len(packets) > MAX_INTERVALS:
        raise section.fail(f"has more than {MAX_INTERVALS} intervals", "packets")
    return _sound(section.entry.where, Trace(period_s=period_s, packets=packets))


def _plain(entry: Entry | None) -> str:
    return "" if entry is None else str(entry.value)


def _intervals(path: Path, period_ms: int, interval_s: float) -> int:
    count = max(1, round(period_ms / 1e3 / interval_s))
    if count > MAX_INTERVALS:
        raise TopologyError(
            f"{path}: {period_ms / 1e3:g} s are more than {MAX_INTERVALS} intervals of "
            f"{interval_s:g} s; give the trace a longer interval, or cut the file"
        )
    return count


def _sound(where: str, trace: Trace) -> Trace:
    rate_bps = sum(trace.packets) * PACKET_BITS / trace.period_s
    if rate_bps < LEAST_BPS:
        raise TopologyError(
            f"{where}: delivers {rate_bps / 1e3:.3g} kbit/s on average, which is less than the "
            f"{LEAST_BPS / 1e3:g} kbit/s that a link can follow"
        )
    return trace


def _times(path: Path, file: BinaryIO) -> Iterator[int]:
    before, number = 0, 0
    while line := file.readline(_LINE_BYTES):
        number += 1
        text = line.strip()
        if number > MAX_LINES:
            raise TopologyError(f"{path}:{number}: more than {MAX_LINES} lines; cut the file")
        if not text.isdigit() or len(text) > 12:
            shown = repr(text.decode("ascii", "replace"))
            raise TopologyError(
                f"{path}:{number}: {shown} is not a whole number of milliseconds, one a line"
            )
        if int(text) < before:
            raise TopologyError(
                f"{path}:{number}: {int(text)} ms comes after {before} ms; times never go back"
            )
        before = int(text)
        yield before
    if number == 0:
        raise TopologyError(f"{path}: empty; a trace has one millisecond a line")
