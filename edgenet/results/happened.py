"""What happened during a run, at its place among the rounds: faults, and what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.results import text


@dataclass(frozen=True)
class Happening:
    """A fault, or a change of the network or of a node."""

    round: float
    """Where it stands among the rounds: 3.5 is in the middle of the fourth."""
    t_s: float
    """Seconds since the start of the run."""
    kind: str
    """'fault' or 'change'."""
    says: str
    """What happened, in words."""


def happenings(
    summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]
) -> tuple[Happening, ...]:
    """Of a run, in order of time.

    Args:
        summary: summary.json's object.
        rounds: one row a round (edgenet.results.rounds).
    """
    return tuple(sorted(_all(summary, rounds), key=lambda each: each.t_s))


def _all(summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> Iterator[Happening]:
    for fault in summary.get("faults", ()):
        t_s = fault["t_s"]
        yield Happening(_place(t_s, rounds), t_s, "fault", f"{fault['peer']} {fault['what']}")
    for change in summary.get("changes", ()):
        yield Happening(_place(change["t_s"], rounds), change["t_s"], "change", said(change))
    for each in summary.get("restarts", ()):
        says = f"{each['node']} is started again"
        yield Happening(_place(each["t_s"], rounds), each["t_s"], "change", says)


def said(change: Mapping[str, Any]) -> str:
    """What a change (of summary.json) was, and whether a person did it."""
    return str(change["says"]) + (", by hand" if change.get("by") == "hand" else "")


def _place(t_s: float, rounds: Sequence[Mapping[str, Any]]) -> float:
    before = 0
    for row in rounds:
        start_s = row["t_s"] - row["wall_s"]
        if t_s <= row["t_s"]:
            part = (t_s - start_s) / row["wall_s"] if row["wall_s"] > 0 else 1.0
            return float(row["round"] - 1 + min(1.0, max(0.0, part)))
        before = row["round"]
    return float(before)


def again(restart: Mapping[str, Any]) -> str:
    """What became of a node, and how long it took until it was back."""
    back_s = restart["back_s"]
    times = f"{restart['number']} of {restart['of']}"
    if "after" in restart:
        cost = "they never joined" if back_s is None else f"{text.seconds(restart['lost_s'])} lost"
        after = f"after round {restart['after']}" if restart["after"] else "from the beginning"
        spare = (
            f"{restart['spare']} took the place of {restart['place']}; "
            if "spare" in restart
            else ""
        )
        return f"{restart['why']}; {spare}all nodes were started again {after} ({times}), {cost}"
    back = "never came back" if back_s is None else f"was back after {text.seconds(back_s)}"
    return f"{restart['why']}; started again ({times}), it {back}"
