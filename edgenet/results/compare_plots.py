"""The pictures of a comparison: what accuracy costs in time, bytes and joules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgenet.results.compare import COLUMNS, Column, Comparison
from edgenet.results.compare_trials import Step, Trial
from edgenet.results.figures import look, picture, plain_log

_CURVES: tuple[tuple[str, Callable[[Step], float | None]], ...] = (
    ("training time (s)", lambda step: step.train_s),
    ("sent over all links (MB)", lambda step: step.sent_bytes / 1e6),
    ("energy (J)", lambda step: step.energy_j),
)
_FRONTS = ("train_s", "sent_bytes", "train_energy_j")
_APART = 10.0
"""Costs that differ by more than this factor get a logarithmic axis."""
_PLAIN = 1000.0
"""... and up to this one, ticks between its powers of ten."""


def draw(of: Comparison, folder: Path) -> list[Path]:
    """Write curves.png (accuracy against each cost) and pareto.png (where the runs end, the
    schemes that no other beats in both joined by a line)."""
    curves, front = folder / "curves.png", folder / "pareto.png"
    columns = {column.key: column for column in COLUMNS}
    with picture(curves, columns=len(_CURVES)) as axes:
        for axis, (label, cost) in zip(axes[0], _CURVES, strict=True):
            _curves(axis, of, label, cost)
        _legend(axes)
    with picture(front, columns=len(_FRONTS)) as axes:
        for axis, key in zip(axes[0], _FRONTS, strict=True):
            _front(axis, of, columns[key])
        _legend(axes)
    return [curves, front]


def _curves(axis: Any, of: Comparison, label: str, cost: Callable[[Step], float | None]) -> None:
    """One line a run: its look tells the scheme, thin lines the seeds after the first."""
    for number, scheme in enumerate(of.shown()):
        for nth, each in enumerate(t for t in of.trials if t.scheme == scheme):
            points = [
                (cost(step), 100 * step.accuracy)
                for step in each.steps
                if step.accuracy is not None and cost(step) is not None
            ]
            if not points:
                continue
            first = {"label": scheme, "markevery": max(1, len(points) // 10)}
            more = first if nth == 0 else {"marker": "", "linewidth": 0.7}
            axis.plot(*zip(*points, strict=True), **(look(number) | more))
            _rings(axis, each, cost)
    axis.set(xlabel=label, ylabel="test accuracy (%)")


def _rings(axis: Any, of: Trial, cost: Callable[[Step], float | None]) -> None:
    """Around the rounds in which something happened."""
    for step, _ in of.struck():
        if step.accuracy is not None and (x := cost(step)) is not None:
            ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none"}
            axis.plot([x], [100 * step.accuracy], color="#b04a00", linestyle="", **ring)


def _front(axis: Any, of: Comparison, column: Column) -> None:
    """Means over the seeds, with their standard deviations."""
    accuracy = COLUMNS[0]
    points = of.ends(column)
    for number, scheme in enumerate(of.shown()):
        x, y = of.spread(scheme, column), of.spread(scheme, accuracy)
        if x is None or y is None:
            continue
        sign = look(number) | {"linestyle": ""}
        axis.errorbar(
            *points[scheme],
            xerr=x.deviation * column.scale,
            yerr=y.deviation * accuracy.scale,
            fmt="none",
            ecolor=sign["color"],
            elinewidth=0.8,
        )  # thin, and not in the legend: the shape has to show
        axis.plot(*points[scheme], label=scheme, markersize=6.5, **sign)
    front = [points[name] for name in of.front(column)]
    axis.plot(*zip(*front, strict=True), color="grey", marker="", linestyle="-",
              linewidth=1, zorder=0)  # fmt: skip
    costs = [x for x, _ in points.values()]
    if costs and 0 < min(costs) * _APART < max(costs):
        if max(costs) < _PLAIN * min(costs):
            plain_log(axis.xaxis)
        else:
            axis.set_xscale("log")
    axis.set(xlabel=column.title, ylabel="test accuracy (%)")


def _legend(axes: Any) -> None:
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=6)
