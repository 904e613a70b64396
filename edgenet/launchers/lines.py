"""The conversation between a launcher and its fork server: one JSON object a line, over two pipes.

The join key travels here and nowhere else: not on a command line, not in the environment, not in a
file.

| from | line | meaning |
| --- | --- | --- |
| launcher | `do: resolve, path, overrides` | read and check this topology, then warm up |
| server | `is: plan, topology, seats` | it is sound: its resolved text, and one seat a node |
| server | `is: refused, code, text` | it is not, or the machine cannot: the sentence; it ends |
| server | `is: ready, host_flops, shared_bytes` | warmed up: the nodes can be forked |
| launcher | `do: start, run_dir, key, shaping, ground, probe, resume, later, limits, groups` | \
start every node but those that come `later` |
| server | `is: started, node, pid` | a node runs |
| server | `is: ended, node, pid, code, signal` | a node was reaped; one of the two is null |
| launcher | `do: fork, node` | start one node, later than others or again |
| launcher | `do: signal, node, number` | send a signal to one node |
| launcher | `do: start, ...` | once every node was reaped: start all of them again |
| launcher | `do: stop, grace_s` | SIGTERM to every node, SIGKILL after the grace; then it ends |
| server | `is: empty` | every node was reaped; whether it ends, the launcher decides |

The end of either pipe is an order too: a server whose launcher is gone stops its nodes.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

_CHUNK = 65536
MAX_LINE = 4 << 20
"""A longer line is none of ours: the reader takes it as the end."""


class LineReader:
    """Takes JSON lines from a pipe as they come.

    Args:
        fd: the reading end; stays owned by the caller.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False
        self._rest = b""
        self._kept: list[dict[str, Any]] = []

    def wait(self, timeout_s: float) -> bool:
        """Whether something (a line, a part of one, or the end) is there within the timeout."""
        if self.ended:
            return False
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(max(timeout_s, 0.0) * 1000))

    def read(self) -> list[dict[str, Any]]:
        """The complete lines after one read, which blocks if nothing is there; sets `ended`."""
        chunk = os.read(self.fd, _CHUNK)
        if not chunk:
            self.ended = True
            return []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self.ended = self.ended or len(self._rest) > MAX_LINE
        return [each for line in lines for each in self.decode(line)]

    def decode(self, line: bytes) -> list[dict[str, Any]]:
        """What one line says."""
        return [json.loads(line)]

    def read_for(self, timeout_s: float) -> list[dict[str, Any]]:
        """The lines that arrive next: returns with the first of them, or empty at the timeout or
        the end."""
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        end = time.monotonic() + timeout_s
        while self.wait(end - time.monotonic()):
            lines = self.read()
            if lines:
                return lines
        return []

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """The next line; None at the timeout or the end. Those behind it are kept."""
        lines = self.read_for(timeout_s)
        self._kept = lines[1:]
        return lines[0] if lines else None


def write_line(fd: int, **fields: Any) -> None:
    """Write one line whole. Raises BrokenPipeError when nobody reads any more."""
    data = json.dumps(fields).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]
