"""Several schemes on one network: their runs side by side, with the spread over the seeds.

Cost is told twice: of the whole run, and up to the first round whose test accuracy reached the
target. A scheme that no seed brought to the target has none of the latter; where only some did,
their mean stands, and how many they were.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgenet.devices.demand import too_late
from edgenet.results.happened import Happening, happenings


@dataclass(frozen=True, kw_only=True)
class Step:
    """One round of one run, everything counted from the start of the run."""

    round: int
    """1, 2, ..."""
    train_s: float
    """Seconds, without those in which the testbed evaluated."""
    sent_bytes: int
    """Over all links, without evaluation."""
    energy_j: float | None
    """Modelled joules of all nodes, taken as spent evenly over the run; None if unknown."""
    accuracy: float | None
    """Of the test set, a fraction; None in rounds that were not tested."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of one scheme."""

    scheme: str
    """As the comparison calls it: the scheme and the keys that were changed for it."""
    seed: int
    """Of the run."""
    folder: str
    """Where it lies."""
    steps: tuple[Step, ...]
    """Its rounds."""
    accuracy: float | None
    """At the end."""
    wall_s: float
    """Of the whole run, evaluation included."""
    sent_bytes: int
    """Over all links, without evaluation."""
    peak_node_bytes: int | None
    """Resident memory of the largest node."""
    energy_j: float | None
    """Of all nodes, modelled."""
    carbon_g: float | None
    """CO2 equivalent of it."""
    happened: tuple[Happening, ...] = ()
    """Faults and changes."""
    late: bool = False
    """Whether its host was too busy to be as fast as its devices."""

    def struck(self) -> tuple[tuple[Step, str], ...]:
        """The rounds in which something happened, and what."""
        told: dict[int, list[str]] = {}
        for each in self.happened:
            told.setdefault(min(math.floor(each.round), len(self.steps) - 1), []).append(each.says)
        return tuple((self.steps[n], "; ".join(says)) for n, says in told.items() if n >= 0)

    def reach(self, target: float) -> Step | None:
        """The first round that was at `target` or above; None if none was."""
        return next(
            (s for s in self.steps if s.accuracy is not None and s.accuracy >= target), None
        )


def trial(
    scheme: str, folder: str, summary: Mapping[str, Any], table: Sequence[Mapping[str, Any]]
) -> Trial:
    """A run, from its summary.json's object and its rounds (edgenet.results.rounds)."""
    energy_j = None if summary["energy_kwh"] is None else summary["energy_kwh"] * 3.6e6
    peaks = [node["peak_rss_bytes"] for node in summary["nodes"].values()]
    return Trial(
        scheme=scheme,
        seed=summary["seed"],
        folder=folder,
        steps=tuple(_steps(table, energy_j, summary["wall_s"])),
        accuracy=summary["accuracy"],
        wall_s=summary["wall_s"],
        sent_bytes=summary["bytes"]["total"],
        peak_node_bytes=max((peak for peak in peaks if peak is not None), default=None),
        energy_j=energy_j,
        carbon_g=summary["carbon_g"],
        happened=happenings(summary, table),
        late=too_late(summary["nodes"]) is not None,
    )


def _steps(table: Sequence[Mapping[str, Any]], energy_j: float | None, wall_s: float) -> list[Step]:
    steps, train_s, sent = [], 0.0, 0
    for row in table:
        train_s += row["train_s"]
        sent += row["payload_bytes"] + row["overhead_bytes"]
        spent = None if energy_j is None or not wall_s else energy_j * row["t_s"] / wall_s
        steps.append(
            Step(
                round=row["round"],
                train_s=train_s,
                sent_bytes=sent,
                energy_j=spent,
                accuracy=row["accuracy"],
            )
        )
    return steps


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds."""

    values: tuple[float, ...]
    """Of the seeds that have one."""

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table."""

    key: str
    """Its name in the CSV; the unit is its ending."""
    title: str
    """In the other tables."""
    scale: float
    """What a value is multiplied by, in the other tables."""
    digits: int
    """Decimals, in the other tables."""
    more_is_better: bool
    """Which value is printed in bold."""
    of: Callable[[Trial, float | None], float | None] = field(repr=False)
    """(trial, target) -> the value, or None."""


def _at_target(what: Callable[[Step], float | None]) -> Callable[[Trial, float | None], Any]:
    def value(of: Trial, target: float | None) -> float | None:
        step = None if target is None else of.reach(target)
        return None if step is None else what(step)

    return value


COLUMNS = (
    Column(key="accuracy", title="accuracy (%)", scale=100, digits=1, more_is_better=True,
           of=lambda t, _: t.accuracy),
    Column(key="target_s", title="to target (s)", scale=1, digits=1, more_is_better=False,
           of=_at_target(lambda s: s.train_s)),
    Column(key="target_bytes", title="to target (MB)", scale=1e-6, digits=1, more_is_better=False,
           of=_at_target(lambda s: s.sent_bytes)),
    Column(key="wall_s", title="time (s)", scale=1, digits=1, more_is_better=False,
           of=lambda t, _: t.wall_s),
    Column(key="sent_bytes", title="sent (MB)", scale=1e-6, digits=1, more_is_better=False,
           of=lambda t, _: t.sent_bytes),
    Column(key="peak_node_bytes", title="node memory (MB)", scale=1e-6, digits=0,
           more_is_better=False, of=lambda t, _: t.peak_node_bytes),
    Column(key="energy_j", title="energy (J)", scale=1, digits=0, more_is_better=False,
           of=lambda t, _: t.energy_j),
    Column(key="carbon_g", title="CO2 (g)", scale=1, digits=3, more_is_better=False,
           of=lambda t, _: t.carbon_g),
)  # fmt: skip
"""Of every table, in order."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that was run so far."""

    topology: str
    """Its name."""
    schemes: tuple[str, ...]
    """In the order asked for; one without a trial has not been run yet."""
    trials: tuple[Trial, ...]
    """In the order of schemes, then seeds."""
    target: float | None
    """Test accuracy that costs are told up to."""
    baseline: float | None
    """Accuracy of always naming the commonest class of the test set."""

    def spread(self, scheme: str, column: Column) -> Spread | None:
        """One cell; None where no seed has a value."""
        found = (column.of(t, self.target) for t in self.trials if t.scheme == scheme)
        values = tuple(value for value in found if value is not None)
        return Spread(values) if values else None

    def count(self, scheme: str) -> int:
        """Trials of a scheme."""
        return sum(t.scheme == scheme for t in self.trials)

    def ends(self, column: Column) -> dict[str, tuple[float, float]]:
        """Scheme -> (mean of a cost, mean final accuracy), scaled as in the tables."""
        found = {}
        for scheme in self.schemes:
            x, y = self.spread(scheme, column), self.spread(scheme, COLUMNS[0])
            if x is not None and y is not None:
                found[scheme] = (x.mean * column.scale, y.mean * COLUMNS[0].scale)
        return found

    def front(self, column: Column) -> tuple[str, ...]:
        """Schemes that no other beats in both accuracy and this cost, by rising cost."""
        return pareto({name: (cost, -gain) for name, (cost, gain) in self.ends(column).items()})

    def best(self, column: Column) -> float | None:
        """The best mean of a column; None where nobody has one."""
        spreads = [self.spread(scheme, column) for scheme in self.schemes]
        means = [spread.mean for spread in spreads if spread is not None]
        return (max if column.more_is_better else min)(means, default=None)


def default_target(trials: Sequence[Trial]) -> float | None:
    """Nine tenths of the best final accuracy: most schemes get there, none at once."""
    finals = [t.accuracy for t in trials if t.accuracy is not None]
    return 0.9 * max(finals) if finals else None


def pareto(points: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Names of the points, each a tuple of costs, that no other beats (as good in every cost, and
    better in one), by rising first cost."""

    def beaten(name: str) -> bool:
        mine = tuple(points[name])
        return any(
            tuple(other) != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in points.values()
        )

    return tuple(sorted((n for n in points if not beaten(n)), key=lambda n: points[n][0]))
