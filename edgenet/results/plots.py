"""The plots of a run's page, from summary.json's object and the table of rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgenet.results import text
from edgenet.results.bars import Bar, bar_chart
from edgenet.results.details import KINDS, Details
from edgenet.results.happened import Happening
from edgenet.results.looks import TONES
from edgenet.results.round_chart import round_chart
from edgenet.results.svg import UPRIGHT, Curve, Point, line_chart, line_charts

Summary = Mapping[str, Any]
Rounds = Sequence[Mapping[str, Any]]

TIMES = KINDS
"""What a node's time went into."""
_BARS = 24
"""Most bars in a chart; the longest are shown."""
_MARKS = 100
"""Most upright lines of a kind."""
_CURVES = 6
"""Most curves of memory."""
_PHASES = ("compute", "send", "wait", "other")


def curves(rounds: Rounds, happened: Sequence[Happening] = ()) -> list[str]:
    """Accuracy and losses by round, with marks where something happened, and what a junction gives
    to its sources."""
    by_round = _uprights(happened, lambda each: each.round)
    over_time = _uprights(happened, lambda each: each.t_s)
    accuracy = [(x, 100 * y) for x, y in _points(rounds, "accuracy")]
    losses = {
        name: points
        for name, key in (("training", "loss"), ("test", "test_loss"))
        if (points := _points(rounds, key))
    }
    plots = [
        line_chart(
            accuracy, title="Test accuracy", x_label="round", y_label="accuracy (%)", more=by_round
        ),
        line_charts(
            losses, title="Loss", x_label="round", y_label="loss (nats)", tone=1, more=by_round
        ),
    ]
    timed = [
        (float(row["t_s"]), 100 * row["accuracy"]) for row in rounds if row["accuracy"] is not None
    ]
    if timed:
        title = "Test accuracy over time"
        x_label, y_label = "time since the start (s)", "accuracy (%)"
        plots.append(
            line_chart(timed, title=title, x_label=x_label, y_label=y_label, tone=3, more=over_time)
        )
    weights = _junction(rounds)
    if weights:
        title = "What the junction gives to each source"
        y_label = "norm of its columns"
        plots.append(line_charts(weights, title=title, x_label="round", y_label=y_label))
    return plots


def _uprights(
    happened: Sequence[Happening], place: Callable[[Happening], float]
) -> tuple[Curve, ...]:
    """A curve of upright lines for each kind of what happened."""
    found = []
    for kind in UPRIGHT:
        those = [each for each in happened if each.kind == kind][:_MARKS]
        if those:
            hints = [f"{each.t_s:.1f} s: {each.says}" for each in those]
            found.append(Curve([(place(each), 0.0) for each in those], 0, kind, hints))
    return tuple(found)


def _points(rounds: Rounds, key: str) -> list[Point]:
    return [(float(row["round"]), row[key]) for row in rounds if row[key] is not None]


def _junction(rounds: Rounds) -> dict[str, list[Point]]:
    """{source: (round, norm)} where a junction reported them (the columns `junction.<source>`)."""
    names = dict.fromkeys(key for row in rounds for key in row if key.startswith("junction."))
    return {
        name.partition(".")[2]: [(float(row["round"]), row[name]) for row in rounds if name in row]
        for name in list(names)[:TONES]
    }


def round_charts(summary: Summary, details: Details) -> list[str]:
    """Who did what in a few rounds."""
    nodes = summary["nodes"]
    names = _busiest(nodes)
    more = f" ({_BARS} busiest of {len(nodes)} nodes)" if len(nodes) > _BARS else ""
    return [round_chart(window, names, more) for window in details.windows]


def _busiest(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """At most so many nodes, in the order of the run: the first of each role, and those that
    computed and sent longest."""
    if len(nodes) <= _BARS:
        return list(nodes)
    busy = {name: node["compute_s"] + node["send_s"] for name, node in nodes.items()}
    first = {node["role"]: name for name, node in reversed([*nodes.items()])}.values()
    chosen = set(sorted(busy, key=lambda name: (name not in first, -busy[name]))[:_BARS])
    return [name for name in nodes if name in chosen]


def time_bars(summary: Summary) -> str:
    """Where each node's time went."""
    nodes = summary["nodes"]
    bars = []
    for name in _busiest(nodes):
        parts = [(kind, float(nodes[name][f"{kind}_s"])) for kind in TIMES]
        bars.append(Bar(name, parts, text.seconds(sum(value for _, value in parts))))
    more = f" (the {_BARS} busiest of {len(nodes)})" if len(nodes) > _BARS else ""
    return bar_chart(bars, title=f"Where the time went{more}", unit="seconds", names=TIMES)


def memory_curves(details: Details) -> str:
    """Resident memory of the nodes that need most."""
    order = sorted(details.memory, key=lambda name: -max(y for _, y in details.memory[name]))
    series = {
        name: [(x, y / 1e6) for x, y in details.memory[name]]
        for name in details.memory
        if name in order[:_CURVES]
    }
    more = f" (the largest {_CURVES} of {len(order)})" if len(order) > _CURVES else ""
    return line_charts(
        series,
        title=f"Resident memory{more}",
        x_label="time since the start (s)",
        y_label="memory (MB)",
    )


def link_bars(summary: Summary) -> str:
    """Bytes of each direction of each link."""
    return _byte_bars(summary["bytes"]["per_link"], "Bytes per link")


def kind_bars(summary: Summary) -> str:
    """Bytes of each kind of message; what only the testbed needed is told apart."""
    kinds = dict(summary["bytes"]["by_kind"])
    for kind in ("evaluation", "probe"):
        volume = summary["bytes"].get(kind)
        if volume and volume["total"]:
            kinds[f"{kind} (testbed only)"] = volume
    return _byte_bars(kinds, "Bytes per kind of message")


def _byte_bars(volumes: Mapping[str, Mapping[str, int]], title: str) -> str:
    ordered = sorted(volumes.items(), key=lambda item: -item[1]["total"])
    largest = max((of["total"] for _, of in ordered), default=0)
    unit, factor = next(
        ((unit, factor) for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
         if largest >= factor), ("bytes", 1.0)
    )  # fmt: skip
    names = ("payload", "overhead")
    bars = [
        Bar(name, [(key, of[key] / factor) for key in names], text.amount(of["total"]))
        for name, of in ordered[:_BARS]
    ]
    more = f" (the largest {_BARS} of {len(ordered)})" if len(ordered) > _BARS else ""
    return bar_chart(bars, title=f"{title}{more}", unit=unit, names=names)


def energy_bars(summary: Summary) -> str:
    """Joules of each node by phase; '' where no node's are known."""
    known = {name: node["energy"] for name, node in summary["nodes"].items() if node["energy"]}
    if not known:
        return ""
    order = sorted(known, key=lambda name: -known[name]["total_j"])[:_BARS]
    bars = [Bar(name, _joules(known[name]), f"{known[name]['total_j']:.3g} J")
            for name in known if name in order]  # fmt: skip
    more = f" (the largest {_BARS} of {len(known)})" if len(known) > _BARS else ""
    return bar_chart(bars, title=f"Energy per node{more}", unit="joules", names=_PHASES)


def _joules(energy: Mapping[str, Any]) -> list[tuple[str, float]]:
    """By phase; all under 'other' where only the whole was measured."""
    parts = [(phase, energy[f"{phase}_j"]) for phase in _PHASES]
    if all(value is None for _, value in parts):
        return [*((phase, 0.0) for phase in _PHASES[:-1]), ("other", energy["total_j"])]
    return [(phase, float(value or 0.0)) for phase, value in parts]
