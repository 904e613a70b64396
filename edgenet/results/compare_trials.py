"""One run as a comparison sees it: what its rounds cost, and what it came to.

The scheme's cost is that of training alone. What the testbed does for its own sake (starting, and
testing the model) stands apart: a scheme is not slower because it was tested more often.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.devices.demand import too_late
from edgenet.meters import energy
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
    """Joules of all nodes, taken as spent evenly over the time of training; None if unknown."""
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
    """Of the whole run: start, evaluation and end included."""
    sent_bytes: int
    """Over all links, without evaluation."""
    held_bytes: int | None
    """Weights and stash of the node with the most; None where a node did not report them."""
    peak_node_bytes: int | None
    """Resident memory of the largest node."""
    energy_j: float | None
    """Of all nodes, in the whole run."""
    carbon_g: float | None
    """CO2 equivalent of it."""
    train_energy_j: float | None
    """`energy_j` without what was idled through outside of training."""
    train_carbon_g: float | None
    """CO2 equivalent of that."""
    happened: tuple[Happening, ...] = ()
    """Faults and changes."""
    late: bool = False
    """Whether its host was too busy to be as fast as its devices."""

    @property
    def train_s(self) -> float | None:
        """Seconds of training; None if no round was done."""
        return self.steps[-1].train_s if self.steps else None

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
    nodes = summary["nodes"].values()
    peaks = [node["peak_rss_bytes"] for node in nodes]
    energy_kwh, train_j, train_g = summary["energy_kwh"], None, None
    if energy_kwh is not None:
        outside = (node["energy"].get("outside_j") for node in nodes if node["energy"] is not None)
        train_j = energy_kwh * energy.JOULES_PER_KWH - sum(each or 0.0 for each in outside)
        train_g = energy.carbon_g(train_j, summary["carbon_kg_per_kwh"])
    return Trial(
        scheme=scheme,
        seed=summary["seed"],
        folder=folder,
        steps=tuple(_steps(table, train_j)),
        accuracy=summary["accuracy"],
        wall_s=summary["wall_s"],
        sent_bytes=summary["bytes"]["total"],
        held_bytes=_held(nodes),
        peak_node_bytes=max((peak for peak in peaks if peak is not None), default=None),
        energy_j=None if energy_kwh is None else energy_kwh * energy.JOULES_PER_KWH,
        carbon_g=summary["carbon_g"],
        train_energy_j=train_j,
        train_carbon_g=train_g,
        happened=happenings(summary, table),
        late=too_late(summary["nodes"]) is not None,
    )


def _held(nodes: Collection[Mapping[str, Any]]) -> int | None:
    """Most weights and stash of any node; None where not every node reported both."""
    found = [(node["peak_weight_bytes"], node["peak_stash_bytes"]) for node in nodes]
    if any(part is None for both in found for part in both):
        return None
    return max((sum(both) for both in found), default=None)


def _steps(table: Sequence[Mapping[str, Any]], energy_j: float | None) -> list[Step]:
    steps, train_s, sent = [], 0.0, 0
    whole_s = sum(row["train_s"] for row in table)
    for row in table:
        train_s += row["train_s"]
        sent += row["payload_bytes"] + row["overhead_bytes"]
        spent = None if energy_j is None or not whole_s else energy_j * train_s / whole_s
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
