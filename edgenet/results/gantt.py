"""The timetable of a round as it happened: a row per node, like the mcPipe paper's Fig. 1.

Boxes are the spans that the nodes wrote: forwards, backwards and updates with the number of their
mini-batch (or micro-batch), the part of them in which weight versions were computed anew, and
the time that an emulated device slept on. What is white in a row is a bubble: the stage waited.
A line from box to box is a message that the events tell of (edgenet.results.acts), from when it was
ready until it was taken up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.errors import InputError
from edgenet.results import text
from edgenet.results.acts import Box, Message, boxes, messages
from edgenet.results.events import node_names
from edgenet.results.figures import picture
from edgenet.results.rundir import RunDir

_COLOURS = {"F": "#d9534f", "B": "#f2c14e", "U": "#4c9f70"}
"""The paper's: red activations, yellow errors, green updates."""
_RECOMPUTED = "#5b2a86"
_MESSAGE = "#5b6673"


def draw(run: RunDir, file: Path, *, number: int = 1, batches: int = 10) -> None:
    """Draw the first `batches` mini-batches of round `number`.

    Raises:
        InputError: no node of the run computed anything in that round.
    """
    every = boxes(run, node_names(run), number)
    rows = {node: _first(mine, batches) for node, mine in every.items()}
    if not rows:
        raise InputError(f"{run.path}: nothing was computed in round {number}")
    crossed = [each for each in messages(run, every, number) if each.number <= batches]
    start_s = min(box.start_s for mine in rows.values() for box in mine)
    width = min(16.0, max(5.5, 4.0 + 0.45 * max(map(len, rows.values()))))
    notes = [note for node, mine in every.items() if (note := slept_later(node, mine, batches))]
    with picture(file, size=(width, 1.1 + 0.7 * len(rows) + 0.16 * len(notes))) as axes:
        axis = axes[0, 0]
        for row, mine in enumerate(rows.values()):
            for box in mine:
                _draw_box(axis, row, box, start_s)
            _write_numbers(axis, row, mine, start_s)
        _draw_messages(axis, list(rows), crossed, start_s)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.invert_yaxis()
        axis.grid(visible=False)
        axis.set(xlabel=f"time in round {number} (ms)", ylabel="node")
        axis.set_title("\n".join(notes), fontsize=7, loc="left")
        _legend(axis, [box for mine in rows.values() for box in mine], crossed)


def _first(mine: Sequence[Box], batches: int) -> list[Box]:
    """The boxes of so many batches; updates have numbers of their own where a batch is cut up."""
    last = max(n for n, box in enumerate(mine) if n == 0 or _within(box, batches))
    return [
        box
        for n, box in enumerate(mine)
        if _within(box, batches) or (box.verb == "U" and n <= last + 1)
    ]


def _within(box: Box, batches: int) -> bool:
    return box.verb != "U" and box.number <= batches


def slept_later(node: str, mine: Sequence[Box], batches: int) -> str:
    """That an emulated device makes good for the drawn boxes after the last of them; empty where
    one of them shows it."""
    shown = _first(mine, batches)
    later = next((box for box in mine if box not in shown and box.slept_s), None)
    if later is None or any(box.slept_s for box in shown):
        return ""
    return (
        f"{node} works at the host's speed here; it sleeps {text.seconds(later.slept_s)} for it "
        f"after batch {later.number}: --batches {later.number} shows it"
    )


def _draw_box(axis: Any, row: int, box: Box, start_s: float) -> None:
    at, colour = 1e3 * (box.start_s - start_s), _COLOURS[box.verb]
    whole, worked = 1e3 * (box.end_s - box.start_s), 1e3 * box.worked_s
    axis.barh(row, whole, left=at, height=0.62, color=colour, alpha=0.45, linewidth=0)
    axis.barh(row, worked, left=at, height=0.62, color=colour, edgecolor="white", linewidth=0.4)
    for t, seconds in box.recomputed:
        axis.barh(
            row + 0.23, 1e3 * seconds, left=1e3 * (t - start_s), height=0.16, color=_RECOMPUTED
        )


def _write_numbers(axis: Any, row: int, mine: Sequence[Box], start_s: float) -> None:
    """In forwards and backwards, but none over the one before it."""
    room_s = 0.014 * (max(box.end_s for box in mine) - start_s)
    last_s = -room_s
    for box in mine:
        middle_s = (box.start_s + box.end_s) / 2 - start_s
        if box.verb != "U" and middle_s - last_s >= room_s:
            last_s, at = middle_s, 1e3 * middle_s
            axis.text(at, row, str(box.number), ha="center", va="center", fontsize=6, clip_on=True)


def _draw_messages(
    axis: Any, names: Sequence[str], crossed: Sequence[Message], start_s: float
) -> None:
    for each in crossed:
        row, other = names.index(each.sender), names.index(each.receiver)
        edge = 0.31 if other > row else -0.31
        at = [1e3 * (t - start_s) for t in (each.ready_s, each.taken_s)]
        axis.plot(
            at, (row + edge, other - edge), color=_MESSAGE, linewidth=0.5, linestyle="-",
            marker="", alpha=0.7, zorder=0,
        )  # fmt: skip


def _legend(axis: Any, shown: Sequence[Box], crossed: Sequence[Message]) -> None:
    """What there is in the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names: Mapping[str, str] = {"F": "forward", "B": "backward", "U": "update"}
    verbs = {box.verb for box in shown}
    handles: list[Any] = [
        Patch(color=_COLOURS[verb], label=name) for verb, name in names.items() if verb in verbs
    ]
    if any(box.slept_s for box in shown):
        handles.append(Patch(color="#9aa3ad", alpha=0.45, label="slower device: waits"))
    if any(box.recomputed for box in shown):
        handles.append(Patch(color=_RECOMPUTED, label="weights recomputed"))
    if crossed:
        handles.append(Line2D([], [], color=_MESSAGE, linewidth=0.8, label="message"))
    axis.figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7)
