"""A topology survives being written out and read again, whatever it holds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgenet.devices import PROFILES
from edgenet.topology import Topology, dump, load, loads
from edgenet.topology.spec import (
    Data,
    Faults,
    LinkSpec,
    Node,
    Optimizer,
    Partition,
    Train,
)

TOPOLOGIES = Path(__file__).parent.parent / "topologies"


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_topologies_survive(path: Path) -> None:
    topology = load(path)
    assert loads(dump(topology)) == topology


def test_the_text_is_readable() -> None:
    topology = loads(
        "nodes: {a: {device: [pi4, pi3], count: 2}, b: {at: [0, 1]}}\n"
        "links: {w: {rate: 20 Mbit, delay: 25 ms, between: [a1, b]}}\n"
        "train: {scheme: fedavg, mu: [1, 0.5]}\n"
    )
    lines = dump(topology).splitlines()
    assert "  a: {device: [pi4, pi3], count: 2}" in lines
    assert "  b: {device: host, at: [0.0, 1.0]}" in lines
    assert "  w: {rate: 20 Mbit, delay: 25 ms, between: [a1, b], shared: false}" in lines
    assert "  mu: [1, 0.5]" in lines
    assert "place:" not in lines


@pytest.mark.parametrize(
    "value",
    [
        "1e3", "true", "null", "~", "", " x ", "a: b", "#no", "it's", '"', "\\", "[a", "\u00e9",
        "\U0001f600", "12", ".nan", "- x", "a, b", "F1/F2", "{", "&a",
        "*a", "!x", "%", 1e-9, 3, True, [1, "1", 1.0, "x: y"],
    ],
    ids=repr,
)  # fmt: skip
def test_a_schemes_own_value_survives_with_its_type(value: object) -> None:
    topology = _topology(random.Random(0), {"key": value})
    again = loads(dump(topology)).train.options["key"]
    assert again == value
    assert repr(again) == repr(value)


@pytest.mark.parametrize("seed", range(60))
def test_random_topologies_survive(seed: int) -> None:
    topology = _topology(random.Random(seed), {})
    assert loads(dump(topology)) == topology


def test_writing_twice_gives_the_same_text() -> None:
    topology = _topology(random.Random(1), {})
    assert dump(loads(dump(topology))) == dump(topology)


def _topology(draw: random.Random, options: dict[str, object]) -> Topology:
    nodes = _nodes(draw)
    names = [node.name for node in nodes]
    return Topology(
        name="random",
        nodes=nodes,
        links=_links(draw, names),
        train=_train(draw, options),
        faults=Faults(
            heartbeat_s=draw.uniform(0.01, 2), silence_s=draw.uniform(3, 9), join_s=1 / 3,
            quorum=draw.choice([0.3, 1.0, 4.0]), deadline_s=draw.choice([None, draw.random() + 1]),
        ),
        place={"server": (names[0],), "client": tuple(names[1:])},
        shaping=draw.choice(["auto", "paced", "none"]),
        seed=draw.randrange(2**32),
    )  # fmt: skip


def _nodes(draw: random.Random) -> tuple[Node, ...]:
    devices = list(PROFILES)
    single = [Node(name=n, group=n, device=draw.choice(devices)) for n in ("hub", "lone")]
    placed = draw.random() < 0.5
    group = [
        Node(
            name=f"cam{i}", group="cam", device=draw.choice(devices),
            at=(draw.uniform(-500, 500), draw.random() * 1e-7) if placed else None,
        )
        for i in range(draw.randint(1, 6))
    ]  # fmt: skip
    return (single[0], *group, single[1])


def _links(draw: random.Random, names: list[str]) -> tuple[LinkSpec, ...]:
    channel = {"rate_bps": draw.uniform(1, 1e9), "delay_s": draw.random(), "loss": draw.random()}
    up = {"jitter_s": draw.random() * 1e-3, "queue_bytes": draw.randrange(1, 10**7)}
    lte = {"bandwidth_hz": draw.uniform(1e6, 2e7), "resource_blocks": 7, "exponent": 3.7,
           "up_power_w": draw.uniform(0.001, 1), "ergodic": True}  # fmt: skip
    base, members = names[0], tuple(names[1:])
    return (
        LinkSpec(name="raw", profile="raw", options=channel | {"up": up}, ends=(base, names[1])),
        LinkSpec(name="air", profile="wifi", options={"value": "802.11ac"}, ends=members[1:] or
                 members, base=base, shared=True),
        LinkSpec(name="cell", profile="lte", options=lte | channel, ends=members, base=base),
        LinkSpec(name="lan", profile="ethernet", options={"value": draw.uniform(1e6, 1e9)},
                 ends=tuple(names)),
    )  # fmt: skip


def _train(draw: random.Random, options: dict[str, object]) -> Train:
    kind = draw.choice(["iid", "shards", "dirichlet", "sizes"])
    return Train(
        scheme="fedavg",
        data=Data(name="mnist", train=draw.choice([None, 99]), views=draw.choice([(), ("a", "b")])),
        partition=Partition(kind=kind, alpha=draw.uniform(0.01, 2), sizes=(5, 6, 7)),
        rounds=draw.randint(1, 99),
        lr=draw.choice([1e-9, 0.1, draw.random()]),
        optimizer=Optimizer(name="adam", momentum=draw.random(), betas=(draw.random(), 0.5)),
        cut=draw.choice([None, 3, "C2", "7"]),
        options=options,
    )
