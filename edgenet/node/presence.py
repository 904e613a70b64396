"""Who may come and go during a run: the events `start`, `stop` and `kill` against the scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenet.errors import TopologyError
from edgenet.links.group import least_members
from edgenet.topology.comings import COMINGS, late_starters
from edgenet.topology.nodes import shorten

if TYPE_CHECKING:
    from edgenet.node.plan import Plan


def check_presence(plan: Plan) -> None:
    """Refuse events that no run of this plan could survive, or carry out.

    Raises:
        TopologyError: with the line of the event.
    """
    topology = plan.topology
    seats = {seat.name: seat for seat in plan.seats}
    free = [seat.name for seat in plan.seats if plan.role(seat.role).returns]
    for number, event in enumerate(topology.events):
        if event.kind not in COMINGS or event.target in free:
            continue
        seat = seats.get(event.target)
        is_ = "which plays no role" if seat is None else f"its {seat.role}"
        can = f"only {shorten(free)} can" if free else "no node can"
        raise TopologyError(
            f"{topology.where(f'events.{number}.{event.kind}')}: event {number + 1} has "
            f"'{event.target}' {event.kind}, {is_}, but under scheme '{plan.scheme.name}' {can} "
            "come and go in a run"
        )
    _check_quorum(plan, late_starters(topology.events))


def _check_quorum(plan: Plan, late: frozenset[str]) -> None:
    """Those who are there from the start must be enough."""
    quorum = plan.topology.faults.quorum
    for role, names in plan.casts.items():
        there = [name for name in names if name not in late]
        least = least_members(quorum, len(names)) if plan.role(role).many else 0
        if late & set(names) and len(there) < least:
            raise TopologyError(
                f"{plan.topology.where('faults.quorum')}: {len(there)} of {len(names)} nodes of "
                f"role {role} are there from the start, but the quorum is {least}; lower "
                "faults.quorum, or let more of them start at once"
            )
