"""The timetable of a pipeline as it happened: a row per node, like the mcPipe paper's Fig. 1.

Boxes are the spans that the nodes wrote: forwards, backwards and updates with the number of their
mini-batch (or micro-batch), the part of them in which weight versions were computed anew, and
the time that an emulated device slept on. What is white in a row is a bubble: the stage waited.
A line from box to box is a message, from when it was ready until it was taken up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenet.errors import InputError
from edgenet.results.events import node_events
from edgenet.results.figures import picture
from edgenet.results.rundir import RunDir

_VERBS = {"forward": "F", "backward": "B", "step": "U"}
_COLOURS = {"F": "#d9534f", "B": "#f2c14e", "U": "#4c9f70"}
"""The paper's: red activations, yellow errors, green updates."""
_RECOMPUTED = "#5b2a86"
_MESSAGE = "#5b6673"


@dataclass
class Box:
    """One verb of one stage."""

    verb: str
    """F, B or U."""
    number: int
    """Of the mini-batch or micro-batch, within the round."""
    start_s: float
    """Epoch seconds."""
    end_s: float
    """With what an emulated device slept on."""
    worked_s: float
    """Without it."""
    recomputed: list[tuple[float, float]]
    """(start, seconds) of weight versions computed anew within it."""


def boxes(run: RunDir, nodes: Sequence[str], number: int) -> dict[str, list[Box]]:
    """What each node did in round `number`, in order; nodes that computed nothing are left out."""
    found = {}
    for node in nodes:
        spans = [e for e in node_events(run, node) if e.name == "span" and e.round == number]
        mine = list(_boxes(sorted(spans, key=lambda span: span.t)))
        if mine:
            found[node] = mine
    return found


def _boxes(spans: Sequence[Any]) -> Iterator[Box]:
    counts = dict.fromkeys("FBU", 0)
    inner = [(s.t, s.number("d") or 0.0) for s in spans if s.text("k") == "recompute"]
    last: Box | None = None
    for span in spans:
        took = span.number("d") or 0.0
        if span.text("k") == "idle" and span.text("n") == "slowdown" and last is not None:
            last.end_s = span.t + took
        if span.text("k") != "compute" or span.text("n") not in _VERBS:
            continue
        if last is not None:
            yield last
        verb, end = _VERBS[span.text("n")], span.t + took
        counts[verb] += 1
        within = [(t, d) for t, d in inner if span.t <= t <= end]
        last = Box(verb, counts[verb], span.t, end, took, within)
    if last is not None:
        yield last


def draw(run: RunDir, file: Path, *, number: int = 1, batches: int = 10) -> None:
    """Draw the first `batches` mini-batches of round `number`.

    Raises:
        InputError: no node of the run computed anything in that round.
    """
    names = sorted((path.name for path in run.nodes.iterdir()), key=_natural)
    rows = {
        node: [box for box in mine if box.number <= batches]
        for node, mine in boxes(run, names, number).items()
    }
    if not rows:
        raise InputError(f"{run.path}: nothing was computed in round {number}")
    start_s = min(box.start_s for mine in rows.values() for box in mine)
    width = min(16.0, 4.0 + 0.45 * max(map(len, rows.values())))
    with picture(file, size=(width, 1.1 + 0.7 * len(rows))) as axes:
        axis = axes[0, 0]
        for row, mine in enumerate(rows.values()):
            for box in mine:
                _draw_box(axis, row, box, start_s)
        _draw_messages(axis, list(rows.values()), start_s)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.invert_yaxis()
        axis.grid(visible=False)
        axis.set(xlabel=f"time in round {number} (ms)", ylabel="node")
        _legend(axis)


def _draw_box(axis: Any, row: int, box: Box, start_s: float) -> None:
    at, colour = 1e3 * (box.start_s - start_s), _COLOURS[box.verb]
    whole, worked = 1e3 * (box.end_s - box.start_s), 1e3 * box.worked_s
    axis.barh(row, whole, left=at, height=0.62, color=colour, alpha=0.45, linewidth=0)
    axis.barh(row, worked, left=at, height=0.62, color=colour, edgecolor="white", linewidth=0.4)
    for t, seconds in box.recomputed:
        axis.barh(
            row + 0.23, 1e3 * seconds, left=1e3 * (t - start_s), height=0.16, color=_RECOMPUTED
        )
    if box.verb != "U":
        axis.text(
            at + whole / 2, row, str(box.number), ha="center", va="center", fontsize=6, clip_on=True
        )


def _draw_messages(axis: Any, rows: Sequence[Sequence[Box]], start_s: float) -> None:
    """Forwards to the row below, backwards to the row above."""
    for row, mine in enumerate(rows):
        for verb, other in (("F", row + 1), ("B", row - 1)):
            if not 0 <= other < len(rows):
                continue
            taken = {box.number: box.start_s for box in rows[other] if box.verb == verb}
            for box in mine:
                if box.verb != verb or box.number not in taken:
                    continue
                ready, came = 1e3 * (box.end_s - start_s), 1e3 * (taken[box.number] - start_s)
                edge = 0.31 if other > row else -0.31
                axis.plot(
                    (ready, came), (row + edge, other - edge), color=_MESSAGE, linewidth=0.5,
                    marker="", alpha=0.7, zorder=0,
                )  # fmt: skip


def _legend(axis: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names: Mapping[str, str] = {"F": "forward", "B": "backward", "U": "update"}
    handles: list[Any] = [Patch(color=_COLOURS[verb], label=name) for verb, name in names.items()]
    handles.append(Patch(color=_RECOMPUTED, label="weights recomputed"))
    handles.append(Line2D([], [], color=_MESSAGE, linewidth=0.8, label="message"))
    axis.figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7)


def _natural(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)
