"""From a file to a Topology: every field, the defaults, and --set."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from edgenet.errors import TopologyError
from edgenet.topology import Topology, load, loads
from edgenet.topology.spec import Data, Faults, Optimizer, Partition, Train
from edgenet.topology.training import COMMON

TOPOLOGIES = Path(__file__).parent.parent / "topologies"

FULL = """\
name: full
nodes:
  edge: {device: edge-server, at: [0, 0.5 km]}
  cam:  {device: [pi4, pi3], count: 3, at: [10, 20], place: {disc: 500 m}}
  lone: {}
links:
  cell: {lte: {bandwidth: 20 MHz, resource_blocks: 50, up_power: 10 dBm}, base: edge, members: cam}
  wire: {rate: 20 Mbit, delay: 25 ms, jitter: 1 ms, loss: 0.1 %, queue: 64 KiB,
         up: {rate: 1 Mbit}, between: [edge, lone]}
train:
  scheme: fpl
  model: leaf-cnn
  data: {name: emnist-letters, train: 500, test: 100, views: [blur, erase]}
  partition: {dirichlet: 0.3}
  epochs: 4
  local_epochs: 2
  batch: 8
  lr: 1e-3
  optimizer: {name: adam, betas: [0.8, 0.99], weight_decay: 0.01}
  cut: 9
  evaluate: 2
  junction: F1
  averaged: [F1, F2]
faults: {heartbeat: 500 ms, silence: 3 s, quorum: 2, join: 1 min, deadline: 30 s}
place: {server: edge, source: cam}
shaping: paced
seed: 7
"""


def test_every_field_is_read() -> None:
    found = loads(FULL, "t.yaml")
    assert (found.name, found.shaping, found.seed, found.file) == ("full", "paced", 7, "t.yaml")
    assert [node.name for node in found.nodes] == ["edge", "cam0", "cam1", "cam2", "lone"]
    assert [node.group for node in found.nodes] == ["edge", "cam", "cam", "cam", "lone"]
    assert [n.device for n in found.nodes] == ["edge-server", "pi4", "pi3", "pi4", "host"]
    assert found.node("edge").at == (0.0, 500.0)
    assert found.node("lone").at is None
    assert found.train == Train(
        scheme="fpl", model="leaf-cnn",
        data=Data(name="emnist-letters", train=500, test=100, views=("blur", "erase")),
        partition=Partition(kind="dirichlet", alpha=0.3),
        rounds=4, local_epochs=2, batch=8, lr=0.001,
        optimizer=Optimizer(name="adam", betas=(0.8, 0.99), weight_decay=0.01),
        cut=9, evaluate=2, options={"junction": "F1", "averaged": ["F1", "F2"]},
    )  # fmt: skip
    assert found.faults == Faults(
        heartbeat_s=0.5, silence_s=3.0, quorum=2, join_s=60.0, deadline_s=30.0
    )
    assert found.place == {"server": ("edge",), "source": ("cam0", "cam1", "cam2")}


def test_links_are_in_si_units() -> None:
    cell, wire = loads(FULL).links
    assert (cell.profile, cell.base, cell.ends) == ("lte", "edge", ("cam0", "cam1", "cam2"))
    assert cell.shared
    assert cell.options == {"bandwidth_hz": 20e6, "resource_blocks": 50, "up_power_w": 0.01}
    assert (wire.profile, wire.base, wire.ends) == ("raw", None, ("edge", "lone"))
    assert not wire.shared
    assert wire.options == {
        "rate_bps": 20e6, "delay_s": 0.025, "jitter_s": 0.001, "loss": 0.001,
        "queue_bytes": 65_536, "up": {"rate_bps": 1e6},
    }  # fmt: skip


def test_what_is_left_out_has_its_default() -> None:
    found = loads("nodes: {a: {}}\ntrain: {scheme: centralized}\n")
    assert found.train == Train(scheme="centralized")
    assert found.faults == Faults()
    assert (found.links, found.place, found.shaping, found.seed) == ((), {}, "auto", 0)


def test_a_count_of_one_still_makes_a_group() -> None:
    found = loads("nodes: {a: {count: 1}, b: {}}\ntrain: {scheme: x}\n")
    assert [(node.name, node.group) for node in found.nodes] == [("a0", "a"), ("b", "b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iid", Partition()),
        ("{iid}", Partition()),
        ("shards", Partition(kind="shards")),
        ("{shards: 3}", Partition(kind="shards", shards_per_node=3)),
        ("{sizes: [600, 400]}", Partition(kind="sizes", sizes=(600, 400))),
        ("{kind: dirichlet, alpha: 0.1}", Partition(kind="dirichlet", alpha=0.1)),
    ],
)
def test_partitions(text: str, expected: Partition) -> None:
    found = loads(f"nodes: {{a: {{}}}}\ntrain: {{scheme: x, partition: {text}}}\n")
    assert found.train.partition == expected


def test_every_field_of_train_has_its_key() -> None:
    assert {field.name for field in dataclasses.fields(Train)} - {"options"} <= set(COMMON)


def test_positions_lie_in_the_disc_and_depend_on_the_seed_alone() -> None:
    text = "nodes: {cam: {count: 400, at: [100, 0], place: {disc: 500 m}}}\ntrain: {scheme: x}\n"
    places = [node.at or (0, 0) for node in loads(text).nodes]
    distances = sorted(math.dist((100, 0), at) for at in places)
    assert distances[-1] <= 500.001
    # Uniform over the area: half of the nodes lie within 500 / sqrt(2) = 354 m.
    assert distances[200] == pytest.approx(354, abs=25)
    assert [node.at for node in loads(text).nodes] == places
    assert [node.at for node in loads(text + "seed: 1\n").nodes] != places
    fewer = loads(text, overrides=["nodes.cam.count=5"])
    assert [node.at for node in fewer.nodes] == places[:5]


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_topologies_are_valid_and_carry_their_own_name(path: Path) -> None:
    found = load(path)
    assert found.name == path.stem
    assert found.file == str(path)
    assert len(path.read_text().splitlines()) < 60


def test_where_finds_the_line_or_the_nearest_parent() -> None:
    found = loads(FULL, "t.yaml")
    assert found.where("train.scheme") == "t.yaml:11"
    assert found.where("links.wire.up.rate") == "t.yaml:9"
    assert found.where("train.nothing.here") == "t.yaml:10"
    assert found.where("nothing") == "t.yaml"


def test_where_names_a_set() -> None:
    found = loads(FULL, "t.yaml", ["train.scheme=gfl", "faults.quorum=1"])
    assert found.where("train.scheme") == "--set train.scheme=gfl"
    assert found.where("faults.quorum") == "--set faults.quorum=1"


def test_a_topology_is_a_value() -> None:
    found = loads(FULL)
    assert found == loads(FULL, "elsewhere.yaml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 3  # type: ignore[misc]


def _set(*overrides: str) -> Topology:
    return loads(FULL, "t.yaml", overrides)


def test_set_changes_any_field() -> None:
    assert _set("train.scheme=gfl").train.scheme == "gfl"
    assert _set("seed=9").seed == 9
    assert len(_set("nodes.cam.count=5").nodes) == 7
    assert _set("nodes.cam.device=pi5").node("cam1").device == "pi5"
    assert _set("links.wire.rate=5 Mbit").links[1].options["rate_bps"] == 5e6
    assert _set("links.wire.down.delay=1 s").links[1].options["down"] == {"delay_s": 1.0}
    assert _set("links.cell.lte.cap=5.5").links[0].options["cap"] == 5.5
    assert _set("train.averaged=[C2]").train.options["averaged"] == ["C2"]
    assert _set("train.optimizer=sgd").train.optimizer == Optimizer()
    assert _set("train.data.name=mnist").train.data.views == ("blur", "erase")
    assert _set("faults={quorum: 1}").faults == Faults(quorum=1.0)
    assert _set("seed=1", "seed=2").seed == 2


def test_set_adds_what_the_file_leaves_out() -> None:
    text = "nodes: {a: {}}\ntrain: {scheme: x, data: digits, optimizer: adam, partition: shards}\n"
    found = loads(
        text, "t.yaml",
        ["faults.quorum=0.7", "train.data.train=90", "train.optimizer.momentum=0.9",
         "train.partition.shards_per_node=1", "train.mu_prox=0.1"],
    )  # fmt: skip
    assert found.faults.quorum == 0.7
    assert found.train.data == Data(name="digits", train=90)
    assert found.train.optimizer == Optimizer(name="adam", momentum=0.9)
    assert found.train.partition == Partition(kind="shards", shards_per_node=1)
    assert found.train.options == {"mu_prox": 0.1}


def test_set_replaces_the_rival_of_a_key_and_null_removes_it() -> None:
    assert _set("train.rounds=3").train.rounds == 3
    assert _set("train.partition.shards=1").train.partition.kind == "shards"
    assert _set("links.cell.wifi=802.11ac").links[0].profile == "wifi"
    assert _set("train.cut=null").train.cut is None


SET_ERRORS = {
    "train.scheme": "--set train.scheme: is not of the form path.to.key=value, like train.scheme",
    "=3": "--set =3: is not of the form path.to.key=value",
    "train..x=3": "--set train..x=3: is not of the form path.to.key=value",
    "train.rounds=": "--set train.rounds=: has no value; write path.to.key=value",
    "trian.scheme=x": "--set trian.scheme=x: there is no section 'trian'; did you mean 'train'?",
    "nodes.cma.count=5": "--set nodes.cma.count=5: there is no node 'cma' to change; did you mean "
    "'cam'? nodes are edge, cam, lone",
    "nodes.new={}": "--set nodes.new={}: there is no node 'new' to change; nodes are edge, cam,",
    "links.cel.rate=1 bit": "--set links.cel.rate=1 bit: there is no link 'cel' to change; did",
    "nodes.cam.cuont=5": "--set nodes.cam.cuont=5: node 'cam' has unknown key 'cuont'; did you",
    "train.rounds=-1": "--set train.rounds=-1: train has rounds -1; it must lie between 1 and",
    "links.wire.rate=5 MB": "--set links.wire.rate=5 MB: link 'wire' has a bad rate: '5 MB' is n",
    "train.batch.x=1": "--set train.batch.x=1: 'train.batch' is 8, so it has no key 'x'; set 'tra",
    "name.x=1": "--set name.x=1: 'name' is 'full', so it has no key 'x'; set 'name' itself",
    "seed=[1": "--set seed=[1: not valid YAML: expected ',' or ']'",
    "seed=*a": "--set seed=*a: uses an alias (*a); write the value out",
    "train.data={name: a, name: b}": "--set train.data={name: a, name: b}: repeats the key 'name'",
}


@pytest.mark.parametrize(("override", "message"), SET_ERRORS.items(), ids=SET_ERRORS)
def test_mistakes_in_a_set_name_the_set(override: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        _set(override)
    assert str(caught.value)[: len(message)] == message
    assert "t.yaml" not in str(caught.value)
