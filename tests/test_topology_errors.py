"""Malformed topologies: each is answered with one sentence that has the file and the line in it.

A case is the text of t.yaml and the beginning of the message. TRAIN completes the cases that are
about something else; it takes one line.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenet.errors import BAD_INPUT, TopologyError
from edgenet.topology import load, loads

TRAIN = "train: {scheme: fedavg}\n"
NODES = "nodes: {a: {}, b: {}, cam: {count: 5}}\n"
HEAD = TRAIN + NODES + "links:\n"  # what follows is line 4

NETWORK = {
    "unknown section": (
        TRAIN + "nodes: {a: {}}\nlink: {}\n",
        "t.yaml:3: the topology has unknown key 'link'; did you mean 'links'? keys are name,",
    ),
    "no nodes": (TRAIN, "t.yaml: the topology has no 'nodes' section"),
    "no train": ("nodes: {a: {}}\n", "t.yaml: the topology has no 'train' section"),
    "empty nodes": (
        TRAIN + "nodes:\n",
        "t.yaml:2: the topology has an empty 'nodes'; write a value or leave the line out",
    ),
    "no node": (TRAIN + "nodes: {}\n", "t.yaml:2: the nodes section is empty; name at least one"),
    "nodes as a list": (
        TRAIN + "nodes: [a, b]\n",
        "t.yaml:2: the nodes section is a list; it must be a mapping (key: value)",
    ),
    "node as text": (
        TRAIN + "nodes:\n  a: pi4\n",
        "t.yaml:3: node 'a' is 'pi4'; it must be a mapping (key: value)",
    ),
    "unknown key of a node": (
        TRAIN + "nodes:\n  a: {devise: pi4}\n",
        "t.yaml:3: node 'a' has unknown key 'devise'; did you mean 'device'? keys are device",
    ),
    "unknown device": (
        TRAIN + "nodes:\n  a: {device: pi44}\n",
        "t.yaml:3: node 'a' has unknown device 'pi44'; did you mean 'pi4'? devices are host,",
    ),
    "bad name": (
        TRAIN + "nodes:\n  a.b: {}\n",
        "t.yaml:3: node 'a.b' has a bad name; a name is a letter and then up to 39 letters, digits",
    ),
    "node name that climbs": (
        TRAIN + "nodes:\n  ../etc: {}\n",
        "t.yaml:3: node '../etc' has a bad name",
    ),
    "duplicate node": (
        TRAIN + "nodes:\n  a: {}\n  a: {}\n",
        "t.yaml:4: repeats the key 'a' of line 3",
    ),
    "node clashes with a group": (
        TRAIN + "nodes:\n  cam: {count: 3}\n  cam0: {}\n",
        "t.yaml:3: the nodes section gives two nodes the name 'cam0': 'cam0' and a member of 'cam'",
    ),
    "groups clash": (
        TRAIN + "nodes:\n  cam: {count: 11}\n  cam1: {count: 1}\n",
        "t.yaml:3: the nodes section gives two nodes the name 'cam1'",
    ),
    "zero count": (
        TRAIN + "nodes:\n  a: {count: 0}\n",
        "t.yaml:3: node 'a' has count 0; it must lie between 1 and 2000",
    ),
    "huge count": (
        TRAIN + "nodes:\n  a: {count: 99999999999999}\n",
        "t.yaml:3: node 'a' has count 99999999999999; it must lie between 1 and 2000",
    ),
    "huge sum": (
        TRAIN + "nodes:\n  a: {count: 1500}\n  b: {count: 1500}\n",
        "t.yaml:4: the nodes section has more than 2000 nodes in all",
    ),
    "truth value as count": (
        TRAIN + "nodes:\n  a: {count: true}\n",
        "t.yaml:3: node 'a' has count true; it must be a whole number",
    ),
    "fraction as count": (
        TRAIN + "nodes:\n  a: {count: 2.5}\n",
        "t.yaml:3: node 'a' has count 2.5; it must be a whole number",
    ),
    "devices without count": (
        TRAIN + "nodes:\n  a: {device: [pi4, pi3]}\n",
        "t.yaml:3: node 'a' lists several devices but has no count",
    ),
    "empty list of devices": (
        TRAIN + "nodes:\n  a: {device: [], count: 2}\n",
        "t.yaml:3: node 'a' has an empty list 'device'",
    ),
    "number as device": (
        TRAIN + "nodes:\n  a: {device: 4}\n",
        "t.yaml:3: node 'a' has 4 in 'device'; it must be a name",
    ),
    "position with one number": (
        TRAIN + "nodes:\n  a: {at: [1]}\n",
        "t.yaml:3: node 'a' has at a list; it must be a position [x, y] in metres",
    ),
    "position that is not a number": (
        TRAIN + "nodes:\n  a: {at: [.nan, 0]}\n",
        "t.yaml:3: node 'a' has a bad at: nan is no length; write a number and one of cm, m, km",
    ),
    "too few positions": (
        TRAIN + "nodes:\n  a: {count: 3, at: [[0, 0], [1, 1]]}\n",
        "t.yaml:3: node 'a' has 2 positions for 3 nodes",
    ),
    "disc without a unit that exists": (
        TRAIN + "nodes:\n  a:\n    place: {disc: 5 ft}\n",
        "t.yaml:4: node 'a': place has a bad disc: '5 ft' is no length; write a number and one of",
    ),
    "disc of nothing": (
        TRAIN + "nodes:\n  a: {place: {disc: 0 m}}\n",
        "t.yaml:3: node 'a': place needs the radius of a disc above 0, like 'disc: 500 m'",
    ),
}

LINKS = {
    "empty links": (
        TRAIN + NODES + "links: {}\n",
        "t.yaml:3: the links section is empty; describe",
    ),
    "unknown node": (
        HEAD + "  cell: {base: a, members: cam9}\n",
        "t.yaml:4: link 'cell' names unknown node 'cam9'; did you mean 'cam'? nodes are a, b, "
        "cam0..cam4",
    ),
    "unknown key of a link": (
        HEAD + "  w: {rat: 1 Mbit, between: [a, b]}\n",
        "t.yaml:4: link 'w' has unknown key 'rat'; did you mean 'rate'? keys are between, base,",
    ),
    "impossible rate": (
        HEAD + "  w:\n    between: [a, b]\n    rate: 20 Mbits\n",
        "t.yaml:6: link 'w' has a bad rate: '20 Mbits' is no rate; write a number and one of bit,",
    ),
    "rate without unit": (
        HEAD + "  w: {rate: 20, between: [a, b]}\n",
        "t.yaml:4: link 'w' has a bad rate: 20 is no rate; write a number and one of bit, kbit,",
    ),
    "rate that is not a number": (
        HEAD + "  w: {rate: .nan, between: [a, b]}\n",
        "t.yaml:4: link 'w' has a bad rate: nan is no rate",
    ),
    "negative delay": (
        HEAD + "  w: {delay: -5 ms, between: [a, b]}\n",
        "t.yaml:4: link 'w' has a bad delay: '-5 ms' is negative; a time cannot be",
    ),
    "list as delay": (
        HEAD + "  w: {delay: [5 ms], between: [a, b]}\n",
        "t.yaml:4: link 'w' has delay a list; it must be one quantity",
    ),
    "total loss": (
        HEAD + "  w: {loss: 100 %, between: [a, b]}\n",
        "t.yaml:4: link 'w' has a bad loss: '100 %' loses everything; a loss lies below 100 %",
    ),
    "more than total loss": (
        HEAD + "  w: {loss: 120 %, between: [a, b]}\n",
        "t.yaml:4: link 'w' has a bad loss: '120 %' is out of range; a fraction here lies between",
    ),
    "self link": (HEAD + "  w: {between: [a, a]}\n", "t.yaml:4: link 'w' joins 'a' to itself"),
    "wire to a group": (
        HEAD + "  w: {between: [a, cam]}\n",
        "t.yaml:4: link 'w' joins a, cam0..cam4; 'between' takes two single nodes",
    ),
    "wire with one end": (
        HEAD + "  w: {between: a}\n",
        "t.yaml:4: link 'w' joins a; 'between' takes two single nodes",
    ),
    "wire and medium": (
        HEAD + "  w: {between: [a, b], base: a}\n",
        "t.yaml:4: link 'w' has both 'between' (a wire) and 'base' or 'members' (a medium)",
    ),
    "link of nothing": (
        HEAD + "  w: {rate: 1 Mbit}\n",
        "t.yaml:4: link 'w' joins nothing; it needs 'between: [a, b]', or 'members' and a 'base'",
    ),
    "switch with one member": (
        HEAD + "  w: {ethernet: 1 Gbit, members: a}\n",
        "t.yaml:4: link 'w' has one member and no base; a switch needs at least two members",
    ),
    "base among the members": (
        HEAD + "  w: {base: cam0, members: cam}\n",
        "t.yaml:4: link 'w' has its base 'cam0' among its members",
    ),
    "group as base": (
        HEAD + "  w: {base: cam, members: a}\n",
        "t.yaml:4: link 'w' needs one node as its base, but names 5: cam0..cam4",
    ),
    "member twice": (
        HEAD + "  w: {base: a, members: [cam, cam3]}\n",
        "t.yaml:4: link 'w' names node 'cam3' twice under 'members'",
    ),
    "duplicate link": (
        HEAD + "  w: {between: [a, b]}\n  x: {between: [b, a]}\n",
        "t.yaml:5: the links section joins the same nodes twice, by 'w' and by 'x'; drop one",
    ),
    "two profiles": (
        HEAD + "  w: {wifi: 802.11ac, ethernet: 1 Gbit, base: a, members: b}\n",
        "t.yaml:4: link 'w' is both ethernet and wifi; choose one",
    ),
    "up of a switch": (
        HEAD + "  w: {up: {rate: 1 Mbit}, members: cam}\n",
        "t.yaml:4: link 'w' is a switch (it has no base), which has no up and down",
    ),
    "lte as text": (
        HEAD + "  w: {lte: yes, base: a, members: cam}\n",
        "t.yaml:4: link 'w' has lte 'yes'; write lte: {bandwidth: 20 MHz, resource_blocks: 100}",
    ),
    "unknown key of lte": (
        HEAD + "  w: {lte: {blocks: 9}, base: a, members: cam}\n",
        "t.yaml:4: link 'w': lte has unknown key 'blocks'; keys are bandwidth, resource_blocks,",
    ),
    "text as shared": (
        HEAD + "  w: {shared: sure, base: a, members: cam}\n",
        "t.yaml:4: link 'w' has shared 'sure'; it must be true or false",
    ),
}


@pytest.mark.parametrize(("text", "message"), NETWORK.values(), ids=NETWORK)
def test_mistakes_in_nodes(text: str, message: str) -> None:
    _refused(text, message)


@pytest.mark.parametrize(("text", "message"), LINKS.values(), ids=LINKS)
def test_mistakes_in_links(text: str, message: str) -> None:
    _refused(text, message)


def _refused(text: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(text, "t.yaml")
    assert str(caught.value)[: len(message)] == message
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == BAD_INPUT


def test_the_message_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("nodes: {a: {}}\ntrain: {}\n")
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:2: train names no scheme; write for instance 'scheme: fedavg'"
    )
