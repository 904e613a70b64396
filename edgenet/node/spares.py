"""Spare devices: whether each could take the place of a node, and the plan when one has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgenet.errors import TopologyError
from edgenet.topology.graph import route
from edgenet.topology.spares import stand_in
from edgenet.units import format_memory

if TYPE_CHECKING:
    from edgenet.node.plan import Plan, Seat


def reseat(plan: Plan, lost: str, spare: str) -> Plan:
    """`plan` with a spare in the place, and under the name, of a node that was lost. Ranks, layout
    and digest are what they were, so checkpoints fit; device and channels are the spare's."""
    topology = stand_in(plan.topology, lost, spare)
    seats = tuple(replace(seat, device=topology.node(seat.name).device) for seat in plan.seats)
    called, now = plan.renamed, {lost: spare, spare: lost}
    names = {name: called.get(name, name) for name in (*called, lost, spare)}
    renamed = {device: now.get(name, name) for device, name in names.items()}
    return replace(plan, topology=topology, seats=seats, renamed=renamed)


def check_spares(plan: Plan) -> None:
    """Make sure that each spare could take the place of every node that the run cannot do without.

    Raises:
        TopologyError: it could not; with the line of `faults.spares`.
    """
    for spare in plan.topology.faults.spares:
        for seat in plan.seats:
            if seat.essential:
                _check_ways(plan, seat, spare)
                _check_room(plan, seat, spare)


def _check_ways(plan: Plan, seat: Seat, spare: str) -> None:
    """All that talk must reach each other when the lost node is gone."""
    topology = stand_in(plan.topology, seat.name, spare)  # the lost device is called `spare` there
    for source in plan.seats:
        for target, _ in source.peers:
            way = route(topology, source.name, target)
            if way is None or any(spare in (hop.source, hop.target) for hop in way):
                a, b = (spare if name == seat.name else name for name in (source.name, target))
                raise TopologyError(
                    f"{_words(plan, seat, spare)}: '{a}' would not reach '{b}' without it; join "
                    f"'{a}' and '{b}' by a link"
                )


def _check_room(plan: Plan, seat: Seat, spare: str) -> None:
    needs = 0 if plan.scheme.needs is None else plan.scheme.needs(plan.layout, seat.name)
    device = plan.topology.device(spare)
    if plan.topology.limits != "none" and device.memory_bytes and needs > device.memory_bytes:
        raise TopologyError(
            f"{_words(plan, seat, spare)}: its device '{device.name}' has "
            f"{format_memory(device.memory_bytes)}, and the node's part of the model takes "
            f"{format_memory(needs)}; choose a device with more memory"
        )


def _words(plan: Plan, seat: Seat, spare: str) -> str:
    where = plan.topology.where("faults.spares")
    return f"{where}: spare '{spare}' cannot take the place of '{seat.name}'"
