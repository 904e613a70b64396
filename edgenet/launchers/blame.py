"""The sentence that a failed run ends with: which node, what happened, and where to look."""

from __future__ import annotations

import os
from pathlib import Path

from edgenet.launchers.policy import End, Referee
from edgenet.results.events import parse
from edgenet.results.rundir import RunDir

_TAIL = 65536


def failure(run: RunDir, referee: Referee) -> str | None:
    """Why the run failed; None if no node failed that it needs."""
    culprit = referee.culprit
    if culprit is None:
        return None
    first = next(name for name, end in referee.ends.items() if not end.good)
    if culprit == referee.hung:
        what = f"{culprit} did not end although all its peers had failed (frozen?)"
    else:
        what = told(run, culprit, referee.ends[culprit])
    if first != culprit:
        what = f"{what}; before that, {told(run, first, referee.ends[first])}"
    return f"{what} (log: {run.log(culprit)})"


def told(run: RunDir, node: str, end: End) -> str:
    """'<node> failed: <its own words>', or how the system ended it."""
    if end.signal is None:
        words = last_error(run.events(node)) or last_line(run.log(node))
        if words:
            return f"{node} failed: {words}"
    return f"{node} {end}"


def last_error(events: Path) -> str:
    """The error of the last `end` event in a journal; empty if there is none."""
    for line in reversed(_tail(events).split(b"\n")):
        event = parse("", line)
        if event is not None and event.name == "end":
            return event.text("error")
    return ""


def last_line(log: Path) -> str:
    """The last line of a log that has words in it; empty if there is none."""
    lines = _tail(log).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read()
    except OSError:
        return b""
