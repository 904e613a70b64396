"""The drawing and the tables of a topology."""

from __future__ import annotations

from pathlib import Path

from edgenet import channels
from edgenet.topology import draw, load, loads
from edgenet.topology.draw import LINK_COLUMNS, NODE_COLUMNS

TEXT = """\
name: small
nodes: {server: {}, pi: {count: 3, device: [pi4, pi3]}, lone: {}}
links:
  air: {wifi: 802.11n-2.4GHz, base: server, members: pi}
  cable: {rate: 20 Mbit, delay: 25 ms, loss: 1 %, up: {rate: 1 Mbit}, between: [pi0, pi1]}
train: {scheme: x}
"""


def test_the_drawing() -> None:
    assert (
        draw.draw(loads(TEXT), channels.channel)
        == """\
small: 5 nodes, 2 links

air (wifi 802.11n-2.4GHz shared medium)
    [server] host
      |   46.7 Mbit/s, 1.5 ms, jitter 1 ms
      +-- [pi0] pi4
      +-- [pi1] pi3
      `-- [pi2] pi4

cable (wire)
    [pi1] pi3
      |   up 1 Mbit/s, down 20 Mbit/s, 25 ms, loss 1 %
      `-- [pi0] pi4

on no link:
    [lone] host"""
    )


def test_a_switch_and_distances() -> None:
    topology = loads(
        "nodes: {e: {at: [0, 0]}, c: {count: 2, at: [[100, 0], [200, 0]]}}\n"
        "links: {lan: {ethernet: 1 Gbit, members: [e, c]}, lte: {lte: {cap: 5}, base: e, "
        "members: c}}\n"
        "train: {scheme: x}\n"
    )
    text = draw.draw(topology, channels.channel)
    assert "    (switch)\n      |   1 Gbit/s, 500 us\n      +-- [e] host\n" in text
    assert "      +-- [c0] host   90 Mbit/s, 10 ms\n" not in text
    assert "lte (lte shared medium)\n    [e] host\n      |   90 Mbit/s, 10 ms\n" in text


def test_large_groups_are_drawn_as_one() -> None:
    topology = loads(TEXT, overrides=["nodes.pi.count=300"])
    text = draw.draw(topology, channels.channel)
    assert "      `-- [pi0..pi299] 300 x pi4, pi3\n" in text
    assert len(text.splitlines()) < 20


def test_a_group_at_several_distances_is_drawn_with_its_slowest() -> None:
    topology = loads(
        "nodes: {e: {at: [0, 0]}, c: {count: 60, place: {disc: 500 m}}}\n"
        "links: {cell: {lte: {}, base: e, members: c}}\ntrain: {scheme: x}\n"
    )
    text = draw.draw(topology, channels.channel)
    slowest = min(channels.between(topology, f"c{i}", "e").rate_bps for i in range(60))
    assert f"at least up {slowest / 1e6:.3g} Mbit/s" in text


def test_the_drawing_is_plain_and_narrow() -> None:
    for path in (Path(__file__).parent.parent / "topologies").glob("*.yaml"):
        text = draw.draw(load(path), channels.channel)
        assert text.isascii()
        assert max(len(line) for line in text.splitlines()) <= 100


def test_rows_of_the_tables() -> None:
    topology = loads(TEXT)
    nodes = draw.node_rows(topology)
    assert [row[0] for row in nodes] == ["server", "pi0", "pi1", "pi2", "lone"]
    assert nodes[1] == ("pi0", "pi4", "4", "4 GiB", "10.8 GFLOP/s", "")
    assert nodes[0][2:] == ("as here", "as here", "as here", "")
    links = draw.link_rows(topology, channels.channel)
    assert links == [
        ("air", "wifi 802.11n-2.4GHz shared medium", "pi0..pi2 <-> server", "46.7 Mbit/s",
         "1.5 ms", "1 ms", "0 %"),
        ("cable", "wire", "pi0 -> pi1", "1 Mbit/s", "25 ms", "0 s", "1 %"),
        ("cable", "wire", "pi1 -> pi0", "20 Mbit/s", "25 ms", "0 s", "1 %"),
    ]  # fmt: skip
    assert {len(row) for row in nodes} == {len(NODE_COLUMNS)}
    assert {len(row) for row in links} == {len(LINK_COLUMNS)}
