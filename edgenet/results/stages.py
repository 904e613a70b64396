"""A plot of what each stage of a pipeline held in memory over time, from its `memory` events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgenet.results.events import node_events, run_events
from edgenet.results.figures import COLOURS, picture
from edgenet.results.rundir import RunDir
from edgenet.results.tally import Tally

_PARTS = {
    "versions": "weight versions",
    "scratch": "scratch block",
    "stash": "pairs, gathered gradients",
    "saved": "saved for backwards",
    "optimiser": "velocity",
}
"""Fields of the event, from the bottom of the stack to its top."""
_MEGABYTE = 1e6


def held(
    run: RunDir, node: str, since: Callable[[float], float]
) -> list[tuple[float, dict[str, float], int]]:
    """(seconds since the run began, part -> MB, live versions) at each `memory` event of a node."""
    return [
        (
            since(event.t),
            {part: event.count(part) / _MEGABYTE for part in _PARTS},
            event.count("live"),
        )
        for event in node_events(run, node)
        if event.name == "memory"
    ]


def draw_memory(run: RunDir, file: Path) -> bool:
    """Draw the stages that keep weight versions, one below the other; False if there are none."""
    since = Tally(run_events(run)).since
    names = sorted(path.name for path in run.nodes.iterdir())
    rows = {node: seen for node in names if (seen := held(run, node, since))}
    if not rows:
        return False
    start_s = min(seen[0][0] for seen in rows.values())
    end_s = max(seen[-1][0] for seen in rows.values())
    with picture(file, rows=len(rows), size=(8.0, 2.2)) as axes:
        for axis, (node, seen) in zip(axes[:, 0], rows.items(), strict=True):
            at = [t - start_s for t, _, _ in seen]
            stack = [[parts[part] for _, parts, _ in seen] for part in _PARTS]
            colours = COLOURS[: len(_PARTS)]
            axis.stackplot(at, stack, labels=list(_PARTS.values()), colors=colours, step="post")
            live = max(count for _, _, count in seen)
            axis.set(ylabel="held (MB)", title=f"{node}: at most {live} live versions")
            axis.set_xlim(0, end_s - start_s)
        axes[-1, 0].set_xlabel("time (s)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure = axes[0, 0].figure
        figure.legend(handles, labels, loc="outside upper center", ncols=len(_PARTS), fontsize=7)
    return True
