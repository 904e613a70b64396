"""Routes over wires, switches and media."""

from __future__ import annotations

import random
from itertools import pairwise

from edgenet.topology import Topology, loads
from edgenet.topology.graph import components, hops, neighbours, route

TREE = """\
nodes: {cloud: {}, edge: {}, cam: {count: 2}, desk: {count: 2}, lone: {}}
links:
  uplink: {between: [edge, cloud]}
  air: {base: edge, members: cam}
  lan: {members: [cloud, desk]}
train: {scheme: x}
"""


def _way(topology: Topology, a: str, b: str) -> list[tuple[str, str, str]] | None:
    found = route(topology, a, b)
    return None if found is None else [(hop.link, hop.source, hop.target) for hop in found]


def test_wire_switch_and_medium() -> None:
    tree = loads(TREE)
    assert _way(tree, "edge", "cloud") == [("uplink", "edge", "cloud")]
    assert _way(tree, "cloud", "edge") == [("uplink", "cloud", "edge")]
    assert _way(tree, "desk0", "desk1") == [("lan", "desk0", "desk1")]
    assert _way(tree, "cam0", "edge") == [("air", "cam0", "edge")]
    assert _way(tree, "cam0", "cam1") == [("air", "cam0", "edge"), ("air", "edge", "cam1")]


def test_several_links_in_a_row() -> None:
    assert _way(loads(TREE), "cam1", "desk0") == [
        ("air", "cam1", "edge"), ("uplink", "edge", "cloud"), ("lan", "cloud", "desk0"),
    ]  # fmt: skip


def test_to_itself_and_to_nowhere() -> None:
    tree = loads(TREE)
    assert route(tree, "edge", "edge") == ()
    assert route(tree, "lone", "lone") == ()
    assert route(tree, "edge", "lone") is None
    assert route(tree, "lone", "edge") is None


def test_neighbours_come_in_file_order_and_once() -> None:
    tree = loads(TREE)
    assert neighbours(tree, "edge") == ("cloud", "cam0", "cam1")
    assert neighbours(tree, "cloud") == ("edge", "desk0", "desk1")
    assert neighbours(tree, "lone") == ()
    assert [hop.target for hop in hops(tree, "cam0")] == ["edge"]


def test_of_two_ways_the_first_in_the_file_is_taken() -> None:
    text = "nodes: {a: {}, b: {}}\nlinks: {%s}\ntrain: {scheme: x}\n"
    cable, air = "cable: {between: [a, b]}", "air: {base: b, members: a}"
    assert _way(loads(text % f"{cable}, {air}"), "a", "b") == [("cable", "a", "b")]
    assert _way(loads(text % f"{air}, {cable}"), "a", "b") == [("air", "a", "b")]


def test_components() -> None:
    assert components(loads(TREE)) == (
        ("cloud", "edge", "cam0", "cam1", "desk0", "desk1"),
        ("lone",),
    )


def test_routes_in_random_networks_are_shortest_and_connected() -> None:
    """Against the matrix of all distances (Floyd and Warshall)."""
    draw = random.Random(11)
    for _ in range(25):
        count = draw.randint(2, 9)
        names = [f"n{i}" for i in range(count)]
        pairs = [(a, b) for a in range(count) for b in range(a) if draw.random() < 0.3]
        wires = ", ".join(f"w{a}x{b}: {{between: [n{a}, n{b}]}}" for a, b in pairs)
        links = f"links: {{{wires}}}\n" if wires else ""
        topology = loads(f"nodes: {{n: {{count: {count}}}}}\n{links}train: {{scheme: x}}\n")
        distance = _distances(count, pairs)
        for a in range(count):
            for b in range(count):
                way = route(topology, names[a], names[b])
                assert (len(way) if way is not None else None) == distance.get((a, b))
                if way:
                    assert (way[0].source, way[-1].target) == (names[a], names[b])
                    assert all(x.target == y.source for x, y in pairwise(way))


def _distances(count: int, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    found = {(a, a): 0 for a in range(count)}
    found |= {pair: 1 for a, b in pairs for pair in ((a, b), (b, a))}
    for via in range(count):
        for a in range(count):
            for b in range(count):
                if (a, via) in found and (via, b) in found:
                    through = found[a, via] + found[via, b]
                    found[a, b] = min(found.get((a, b), through), through)
    return found
