"""A launcher's part in a probe: whether there is one, the packets' part of it, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgenet.launchers.ground import Built
from edgenet.launchers.record import Record
from edgenet.results.events import run_events
from edgenet.results.rundir import RunDir
from edgenet.shaping.asked import Asked, asked, talks
from edgenet.shaping.choice import KERNEL
from edgenet.shaping.verdict import Row, blank, judged, refusal, row
from edgenet.topology.spec import Topology

if TYPE_CHECKING:
    from edgenet.shaping.packets import Packets

COMMAND_BUDGET_S = 10.0
"""What `edgenet probe` may take at least, whatever a run's budget is."""


def order(topology: Topology, used: str, *, only: bool = False) -> dict[str, Any] | None:
    """What the nodes are told (fields of `edgenet.node.assignment.ProbeOrder`); None: no probe.

    Args:
        topology: its `probe:`.
        used: the back end in use.
        only: it is all that the run is for.
    """
    probe = topology.probe
    if not (only or (used in KERNEL if probe.run is None else probe.run)):
        return None
    budget_s = max(probe.budget_s, COMMAND_BUDGET_S) if only else probe.budget_s
    return {"tolerance": probe.tolerance, "budget_s": budget_s, "only": only}


class Probing:
    """A run's probe.

    Args:
        topology: what is run.
        peers: of each node, by rank.
        used: the back end in use.
        only: the probe is all that the run is for.
    """

    def __init__(
        self,
        topology: Topology,
        peers: Mapping[str, tuple[str, ...]],
        used: str,
        *,
        only: bool = False,
    ) -> None:
        self.order = order(topology, used, only=only)
        """What the nodes are told; None: there is no probe."""
        self._topology, self._used, self._only = topology, used, only
        self._peers = dict(peers)
        self._packets: list[Row] = []

    def packets(self, network: Built | None) -> str | None:
        """The packets' part, before the nodes are there; why the run is not to start, or None."""
        if network is None or self.order is None or self._used not in KERNEL:
            return None
        both = [
            way
            for pair in talks(self._peers)
            for way in (self._asked(*pair), self._asked(*reversed(pair)))
        ]
        found = network.packets([there for there, _ in both])
        tolerance = self.order["tolerance"]
        self._packets = [
            _row(one, way, self._used, tolerance) for one, way in zip(found, both, strict=True)
        ]
        return None if self._only else refusal(self._packets, tolerance) or None

    def conclude(self, run: RunDir, record: Record) -> str | None:
        """Write the table into run.json, when the nodes have ended; why the run failed, or None."""
        if self.order is None:
            return None
        found = table(run, self._packets, self._used, self.order["tolerance"])
        record.write(probe=found)
        return found["refused"] or None

    def _asked(self, a: str, b: str) -> tuple[Asked, Asked]:
        topology, used = self._topology, self._used
        return asked(topology, a, b, used), asked(topology, b, a, used)


def table(run: RunDir, packets: Sequence[Row], used: str, tolerance: float) -> dict[str, Any]:
    """What run.json says of a probe: its rows, the verdict, and how long the links took.

    Args:
        run: with the journals of its nodes.
        packets: the packets' part; empty outside of namespaces.
        used: the back end.
        tolerance: as in the topology.
    """
    rows = {(each.source, each.target): each for each in packets}
    refused, seconds = "", None
    for event in run_events(run):
        if event.name == "probe":
            each = row(event.fields)
            rows[each.source, each.target] = _joined(each, rows.get((each.source, each.target)))
        elif event.name == "probed":
            refused, seconds = event.text("refused"), event.number("seconds")
    done = [judged(each, used, tolerance) for each in rows.values()]
    return {
        "rows": [each.fields() for each in done],
        "refused": refused or refusal(done, tolerance),
        "tolerance": tolerance,
        "seconds": seconds,
    }


def _row(found: Packets, way: tuple[Asked, Asked], used: str, tolerance: float) -> Row:
    each = blank(*way)
    measured = {"jitter_s": found.jitter_s, "loss": found.loss, "packets_bps": found.rate_bps}
    counted = {"jitter_s": found.spread, "loss": found.sent}
    each = replace(each, measured={**each.measured, **measured}, packets=counted)
    return judged(each, used, tolerance)


def _joined(links: Row, packets: Row | None) -> Row:
    if packets is None:
        return links
    told = {key: value for key, value in packets.measured.items() if value is not None}
    return replace(links, measured={**links.measured, **told}, packets=packets.packets)
