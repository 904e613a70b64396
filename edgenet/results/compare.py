"""Several schemes on one network: their runs side by side, with the spread over the seeds.

Cost is told twice: of the whole run, and up to the first round whose test accuracy reached the
target. A scheme that no seed brought to the target has none of the latter; where only some did,
their mean stands, and how many they were; it cannot be the best then.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgenet.results.compare_trials import Step, Trial


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
    Column(key="train_s", title="time (s)", scale=1, digits=1, more_is_better=False,
           of=lambda t, _: t.train_s),
    Column(key="sent_bytes", title="sent (MB)", scale=1e-6, digits=1, more_is_better=False,
           of=lambda t, _: t.sent_bytes),
    Column(key="held_bytes", title="weights + stash (MB)", scale=1e-6, digits=1,
           more_is_better=False, of=lambda t, _: t.held_bytes),
    Column(key="peak_node_bytes", title="node memory (MB)", scale=1e-6, digits=0,
           more_is_better=False, of=lambda t, _: t.peak_node_bytes),
    Column(key="train_energy_j", title="energy (J)", scale=1, digits=0, more_is_better=False,
           of=lambda t, _: t.train_energy_j),
    Column(key="train_carbon_g", title="CO2 (g)", scale=1, digits=3, more_is_better=False,
           of=lambda t, _: t.train_carbon_g),
)  # fmt: skip
"""Of every table, in order."""
WHOLE = (
    Column(key="wall_s", title="whole run (s)", scale=1, digits=1, more_is_better=False,
           of=lambda t, _: t.wall_s),
    Column(key="energy_j", title="whole run (J)", scale=1, digits=0, more_is_better=False,
           of=lambda t, _: t.energy_j),
    Column(key="carbon_g", title="whole run, CO2 (g)", scale=1, digits=3, more_is_better=False,
           of=lambda t, _: t.carbon_g),
)  # fmt: skip
"""What the testbed itself costs is in these: of compare.csv and compare.json alone."""


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

    def shown(self) -> list[str]:
        """Schemes that have a trial."""
        return [scheme for scheme in self.schemes if self.count(scheme)]

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
        """The best mean of a column among schemes all of whose seeds have a value; None where
        there is none."""
        means = [spread.mean for spread in self._complete(column).values()]
        return (max if column.more_is_better else min)(means, default=None)

    def leaders(self, column: Column) -> frozenset[str]:
        """The schemes that have the best mean: nobody where the lead over the next mean lies within
        the larger standard deviation of the two."""
        best, complete = self.best(column), self._complete(column)
        first = {name: spread for name, spread in complete.items() if spread.mean == best}
        others = [spread for name, spread in complete.items() if name not in first]
        if best is not None and others:
            after = min(others, key=lambda spread: abs(spread.mean - best))
            deviations = [spread.deviation for spread in (*first.values(), after)]
            if abs(after.mean - best) <= max(deviations):
                return frozenset()
        return frozenset(first)

    def _complete(self, column: Column) -> dict[str, Spread]:
        """Of schemes all of whose seeds have a value."""
        found = {scheme: self.spread(scheme, column) for scheme in self.schemes}
        return {
            scheme: spread
            for scheme, spread in found.items()
            if spread is not None and len(spread.values) == self.count(scheme)
        }


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
