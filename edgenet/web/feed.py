"""The lines of a run's log: what happened to nodes and links, and what the nodes printed."""

from __future__ import annotations

from collections import deque
from typing import Any

from edgenet.results import text
from edgenet.results.events import Event, node_names
from edgenet.results.rundir import RunDir
from edgenet.results.watch import changed

_LINES = 200
_MOST_BYTES = 65536
_MOST_LETTERS = 400


class Feed:
    """The latest lines of one run.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._read: dict[str, int] = {}
        self._number = 0
        self.lines: deque[dict[str, Any]] = deque(maxlen=_LINES)
        """{n, t, node, kind, text}; kind is 'round', 'fault', 'change', 'printed' or ''."""

    def add(self, event: Event) -> None:
        """Take in one event, if people want to read of it."""
        line = _line(event)
        if line is not None:
            self._append(event.t, event.node, *line)

    def printed(self, now: float) -> None:
        """Take in what the nodes have printed since the last call."""
        for name in node_names(self._run):
            try:
                with self._run.log(name).open("rb") as file:
                    end = file.seek(0, 2)
                    start = max(self._read.get(name, 0), end - _MOST_BYTES)
                    file.seek(start)
                    data = file.read()
            except OSError:
                continue
            whole = data.rfind(b"\n") + 1
            self._read[name] = start + whole
            for line in data[:whole].decode(errors="replace").splitlines():
                if line.strip():
                    self._append(now, name, "printed", line.strip())

    def _append(self, t: float, node: str, kind: str, words: str) -> None:
        self._number += 1
        shown = words[:_MOST_LETTERS]
        self.lines.append({"n": self._number, "t": t, "node": node, "kind": kind, "text": shown})


def _line(event: Event) -> tuple[str, str] | None:
    """(kind, words), or None where it is no news."""
    match event.name:
        case "start":
            return "", f"started as {event.text('role')} on {event.text('device')}"
        case "joined":
            return "", "has all its links"
        case "round":
            accuracy, loss = (text.number(event.number(key)) for key in ("accuracy", "loss"))
            return "round", f"round {event.round}: accuracy {accuracy}, loss {loss}"
        case "fault":
            why = f" ({event.text('why')})" if event.text("why") else ""
            return "fault", f"{event.text('peer')} {event.text('what')}{why}"
        case "change" | "restarted":
            return "change", changed(event)
        case "log":
            return "printed", event.text("text")
        case "end":
            error = f": {event.text('error')}" if event.text("error") else ""
            return "fault" if error else "", f"{event.text('status', 'done')}{error}"
    return None
