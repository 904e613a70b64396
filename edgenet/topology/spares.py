"""A device that takes the place of another: the same network with two nodes' names exchanged."""

from __future__ import annotations

from dataclasses import replace

from edgenet.topology.events import ON_LINKS
from edgenet.topology.spec import LinkSpec, Node, TimedEvent, Topology


def stand_in(topology: Topology, lost: str, spare: str) -> Topology:
    """`topology` as it is when the node called `spare` has taken the place of `lost`: under the
    name `lost` there are the spare's device, position, links and what happens to them, and the
    other way round. So whatever knows a node by its name (checkpoints, peers, a layout) goes on."""
    names = {lost: spare, spare: lost}
    by_name = {node.name: node for node in topology.nodes}
    return replace(
        topology,
        nodes=tuple(_node(node, by_name[names.get(node.name, node.name)])
                    for node in topology.nodes),
        links=tuple(_link(link, names) for link in topology.links),
        events=tuple(_event(event, names) for event in topology.events),
    )  # fmt: skip


def _node(seat: Node, its: Node) -> Node:
    return replace(seat, device=its.device, at=its.at)


def _link(link: LinkSpec, names: dict[str, str]) -> LinkSpec:
    base = None if link.base is None else names.get(link.base, link.base)
    return replace(link, ends=tuple(names.get(end, end) for end in link.ends), base=base)


def _event(event: TimedEvent, names: dict[str, str]) -> TimedEvent:
    of_node = event.kind == "move" or event.kind not in ON_LINKS
    target = names.get(event.target, event.target) if of_node else event.target
    return replace(event, target=target, nodes=tuple(names.get(n, n) for n in event.nodes))
