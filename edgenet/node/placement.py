"""Who plays which role: the scheme's needs laid over the topology's nodes."""

from __future__ import annotations

from collections.abc import Iterable

from edgenet.errors import TopologyError
from edgenet.schemes import Role, Scheme
from edgenet.topology.spec import Topology


def place(topology: Topology, scheme: Scheme) -> dict[str, tuple[str, ...]]:
    """Role name -> node names, in the scheme's order of roles.

    `place:` decides first, and alone for roles that only it fills. A single role that it does not
    name goes to the first node that is called like it (or whose group is), else to the first in the
    file; a role of many takes all nodes that are left. Nodes that no role needs are not started.

    Raises:
        TopologyError: `place:` asks for the impossible, or too few nodes are there.
    """
    placed = _explicit(topology, scheme)
    for role in sorted(scheme.roles, key=lambda role: role.many):
        if role.name in placed:
            continue
        if role.placed:
            placed[role.name] = ()
            continue
        taken = {name for names in placed.values() for name in names} | {*topology.faults.spares}
        left = [node for node in topology.nodes if node.name not in taken]
        if not left:
            raise TopologyError(f"{topology.where('nodes')}: {_shortage(topology, scheme)}")
        likely = [node for node in left if role.name in (node.name, node.group)] or left
        chosen = left if role.many else likely[:1]
        placed[role.name] = tuple(node.name for node in chosen)
    return {role.name: placed[role.name] for role in scheme.roles}


def _explicit(topology: Topology, scheme: Scheme) -> dict[str, tuple[str, ...]]:
    """The part of the placement that the file states, checked."""
    roles = {role.name: role for role in scheme.roles}
    owner: dict[str, str] = {}
    for name, nodes in topology.place.items():
        where = topology.where(f"place.{name}")
        if name not in roles:
            raise TopologyError(
                f"{where}: scheme '{scheme.name}' has no role '{name}'; roles are {_list(roles)}"
            )
        if len(nodes) != 1 and not roles[name].many:
            raise TopologyError(
                f"{where}: exactly one node plays '{name}', but {len(nodes)} are placed there"
            )
        for node in nodes:
            if node in owner:
                raise TopologyError(
                    f"{where}: node '{node}' is placed as '{name}' and as '{owner[node]}'; "
                    "a node plays one role"
                )
            if node in topology.faults.spares:
                raise TopologyError(
                    f"{where}: node '{node}' is placed as '{name}', but faults.spares names it; a "
                    "spare plays no role until another node is lost"
                )
            owner[node] = name
    return dict(topology.place)


def _shortage(topology: Topology, scheme: Scheme) -> str:
    needs = _list([_need(role) for role in scheme.roles if not role.placed])
    count = len(topology.nodes)
    nodes = "1 node" if count == 1 else f"{count} nodes"
    return f"scheme '{scheme.name}' needs {needs}, but the topology has only {nodes} to place"


def _need(role: Role) -> str:
    return f"at least one {role.name}" if role.many else f"one {role.name}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
