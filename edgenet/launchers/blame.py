"""The sentence that a failed run ends with: which node, what happened, and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edgenet.errors import DONE, INTERRUPTED, NODE_FAILED, UNWRITABLE
from edgenet.launchers.policy import End, Referee
from edgenet.results.events import Event, last_events, tail
from edgenet.results.rundir import RunDir


def failure(run: RunDir, referee: Referee) -> str | None:
    """Why the run failed; None if no node failed that it needs."""
    culprit = referee.culprit
    if culprit is None:
        return None
    ends = referee.ends.items()
    first = next((name for name, end in ends if not (end.good or end.stopped)), culprit)
    if culprit == referee.hung:
        what = f"{culprit} did not end although all its peers had failed (frozen?)"
    else:
        what = told(run, culprit, referee.ends[culprit])
    if referee.restarts[culprit]:
        what = f"{what}; it was started again as often as faults.restart allows"
    if first != culprit and first in referee.ends:
        what = f"{what}; before that, {told(run, first, referee.ends[first])}"
    # Who ended by itself has said what to do; who was killed or froze could not.
    end = referee.ends.get(culprit)
    if referee.restart == 0 and (end is None or end.signal is not None):
        what = f"{what}; set faults.restart to have all nodes started again"
    return f"{what} (log: {run.log(culprit)})"


def told(run: RunDir, node: str, end: End) -> str:
    """'<node> failed: <its own words>', or how the system ended it."""
    if end.code == UNWRITABLE:  # its last words are on stderr, if there was room for them
        last = last_line(run.log(node))
        return f"{node} failed: {last}" if "cannot be written" in last else f"{node} {end}"
    words = last_error(run.events(node))
    if end.signal is None:
        words = words or last_line(run.log(node))
    if words:
        return words if words.startswith(f"{node} ") else f"{node} failed: {words}"
    return f"{node} {end}"


class Seated(Protocol):
    """The part of a seat that decides what its end means."""

    @property
    def name(self) -> str:
        """The node."""

    @property
    def essential(self) -> bool:
        """Whether the run cannot go on without it."""


def verdict(
    seats: Sequence[Seated],
    run: RunDir,
    ends: Mapping[str, End],
    more: str = "torchrun's report",
) -> tuple[int, str | None]:
    """Exit code and sentence of a run that no fork server watched.

    Args:
        seats: all nodes.
        run: their journals.
        ends: as far as they are known.
        more: where more is told of a node that left no word.
    """
    if all(seat.name in ends and ends[seat.name].good for seat in seats if seat.essential):
        return DONE, None  # the others were lost to a quorum, and stand among the faults
    failed = [name for name, end in ends.items() if end.code in (NODE_FAILED, UNWRITABLE)]
    if failed:
        return NODE_FAILED, told(run, failed[0], ends[failed[0]])
    lost = [seat.name for seat in seats if seat.name not in ends]
    if lost:
        return (
            NODE_FAILED,
            f"{', '.join(lost)} ended without a word (killed?); see {more}",
        )
    return INTERRUPTED, f"interrupted; what was computed is in {run.path}"


def last_error(events: Path) -> str:
    """The error of the last `end` event in a journal; empty if there is none."""
    event = _last_end(events)
    return "" if event is None else event.text("error")


def end_of(events: Path) -> End | None:
    """How a node ended, by its own journal; None if that does not tell."""
    event = _last_end(events)
    code = None if event is None else event.number("code")
    return None if code is None else End(code=int(code))


def _last_end(events: Path) -> Event | None:
    ends = [event for event in last_events(events) if event.name == "end"]
    return ends[-1] if ends else None


def last_line(log: Path) -> str:
    """The last line of a log that has words in it; empty if there is none."""
    lines = tail(log).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
