"""Tables and the picture of `plan.py`: predicted against measured."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from common import Figures

from edgenet.results import text
from edgenet.results.figures import COLOURS, MARKERS, picture, plain_log

TIME, BYTES, MEMORY = 0.20, 0.02, 0.20
"""How far a prediction may be off."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate: what was predicted, and what was measured."""

    network: str
    candidate: str
    predicted_s: float
    measured_s: float
    predicted_bytes: int
    measured_bytes: int
    node: str
    """The one of which most memory is predicted."""
    predicted_memory_bytes: int
    """Of this node."""
    measured_memory_bytes: int
    """Likewise, its peak resident set."""

    @property
    def time_error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted_s / self.measured_s - 1

    @property
    def bytes_error(self) -> float:
        """Likewise; 0 where nothing is sent."""
        return self.predicted_bytes / max(1, self.measured_bytes) - bool(self.measured_bytes)

    @property
    def memory_error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted_memory_bytes / self.measured_memory_bytes - 1

    @property
    def verdict(self) -> str:
        """Whether all are near enough."""
        wrong = [
            what
            for what, error, most in (
                ("time", self.time_error, TIME),
                ("bytes", self.bytes_error, BYTES),
                ("memory", self.memory_error, MEMORY),
            )
            if abs(error) > most
        ]
        return f"{' and '.join(wrong)} off" if wrong else "holds"


def summary(points: Sequence[Point]) -> Figures:
    """What all points say together."""
    times = [abs(point.time_error) for point in points]
    return {
        "predictions": len(points),
        "hold": sum(point.verdict == "holds" for point in points),
        "time_error_median": statistics.median(times),
        "time_error_worst": max(times),
        "bytes_error_worst": max(abs(point.bytes_error) for point in points),
        "memory_error_median": statistics.median(abs(point.memory_error) for point in points),
        "memory_error_worst": max(abs(point.memory_error) for point in points),
    }


def report(out: Path, points: Sequence[Point]) -> None:
    """Write the table twice, and the picture."""
    out.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in fields(Point)]
    with (out / "points.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "time_error", "bytes_error", "memory_error", "verdict"])
        for point in points:
            own = [_cell(value) for value in asdict(point).values()]
            errors = f"{point.time_error:.4f}", f"{point.bytes_error:.5f}"
            writer.writerow([*own, *errors, f"{point.memory_error:.4f}", point.verdict])
    draw(out / "points.png", points)
    (out / "README.md").write_text(markdown(points), encoding="utf-8")


def _cell(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value


def markdown(points: Sequence[Point]) -> str:
    """The report."""
    told = summary(points)
    lines = [
        "# Predicted and measured",
        "",
        f"`edgenet plan` against runs: {told['hold']} of {told['predictions']} predictions are "
        f"within {TIME:.0%} in time, {BYTES:.0%} in bytes and {MEMORY:.0%} in memory; time is off "
        f"by {told['time_error_median']:.1%} in the median and {told['time_error_worst']:.1%} at "
        f"worst, bytes by {told['bytes_error_worst']:.2%} at worst, memory by "
        f"{told['memory_error_median']:.1%} in the median and {told['memory_error_worst']:.1%} at "
        "worst. Memory is the peak resident set of the node of which most is predicted; Python "
        "and torch are some 200 MB of it. Written by benchmarks/plan.py.",
        "",
        "| network | candidate | predicted | measured | off | predicted | measured | off | memory, "
        "predicted | measured | off | verdict |",
        "| --- " * 12 + "|",
    ]
    for point in points:
        lines.append(
            f"| {point.network} | {point.candidate} | {text.seconds(point.predicted_s)} | "
            f"{text.seconds(point.measured_s)} | {point.time_error:+.1%} | "
            f"{text.amount(point.predicted_bytes)} | {text.amount(point.measured_bytes)} | "
            f"{point.bytes_error:+.2%} | {text.amount(point.predicted_memory_bytes)} | "
            f"{text.amount(point.measured_memory_bytes)} ({point.node}) | "
            f"{point.memory_error:+.1%} | {point.verdict} |"
        )
    return "\n".join([*lines, "", "![predicted against measured](points.png)", ""])


def draw(path: Path, points: Sequence[Point]) -> None:
    """Predicted against measured, with the bands in which a prediction holds; of bytes where some
    are sent."""
    Pairs = dict[str, list[tuple[float, float]]]
    times: Pairs = {point.network: [] for point in points}
    volumes: Pairs = {point.network: [] for point in points}
    memories: Pairs = {point.network: [] for point in points}
    for point in points:
        times[point.network].append((point.measured_s, point.predicted_s))
        if point.measured_bytes:
            volumes[point.network].append((point.measured_bytes, point.predicted_bytes))
        pair = point.measured_memory_bytes / 1e6, point.predicted_memory_bytes / 1e6
        memories[point.network].append(pair)
    ways = (
        ("seconds a round", TIME, times), ("bytes a round", BYTES, volumes),
        ("MB resident", MEMORY, memories),
    )  # fmt: skip
    with picture(path, columns=len(ways), size=(4.6, 4.2)) as axes:
        for place, (label, band, found) in zip(axes[0], ways, strict=True):
            shown = [number for pairs in found.values() for pair in pairs for number in pair]
            ends = [min(shown) / 1.5, max(shown) * 1.5]
            low, high = ([(1 + sign * band) * end for end in ends] for sign in (-1, 1))
            place.fill_between(ends, low, high, color="grey", alpha=0.25, label=f"{band:.0%}")
            place.plot(ends, ends, color="grey", marker="", linewidth=0.8)
            for number, (network, pairs) in enumerate(found.items()):
                place.plot(*zip(*pairs, strict=True), MARKERS[number], color=COLOURS[number],
                           label=network)  # fmt: skip
            place.set(xscale="log", yscale="log", xlim=ends, ylim=ends,
                      xlabel=f"measured {label}", ylabel=f"predicted {label}")  # fmt: skip
            place.legend()
        for place in (axes[0, 0], axes[0, 2]):
            for axis in (place.xaxis, place.yaxis):
                plain_log(axis)
