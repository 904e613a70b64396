"""Lanes, addresses and routes of an emulated network: values, without a kernel."""

from __future__ import annotations

import pytest

from edgenet.channels import between
from edgenet.shaping.lanes import lanes
from edgenet.shaping.layout import Layout, first_hops
from edgenet.topology import Topology, loads
from edgenet.topology.graph import route

HEAD = "name: t\ntrain: {scheme: fedavg, rounds: 1}\n"
MESH = (
    HEAD + "nodes: {edge: {}, cam: {count: 3}, far: {}, hub: {}, lone: {}}\n"
    "links:\n"
    "  air: {wifi: 802.11n-5GHz, base: edge, members: cam}\n"
    "  cable: {rate: 10 Mbit, up: {rate: 1 Mbit}, between: [edge, far]}\n"
    "  detour: {rate: 10 Mbit, between: [cam0, far]}\n"
    "  lan: {ethernet: 100 Mbit, members: [far, hub, cam2]}\n"
)


def cell(link: str) -> Topology:
    return loads(HEAD + "nodes: {base: {}, member: {count: 2}}\nlinks: {way: {" + link + "}}\n")


@pytest.mark.parametrize(
    ("link", "pools"),
    [
        ("rate: 1 Mbit, base: base, members: member", {None}),
        ("rate: 1 Mbit, base: base, members: member, shared: true", {"way/up", "way/down"}),
        ("wifi: 802.11n-5GHz, base: base, members: member", {"way"}),
        ("rate: 1 Mbit, members: member, shared: true", {"way"}),
        ("rate: 1 Mbit, members: member", {None}),
    ],
)
def test_lanes_take_from_the_pool_of_their_medium(link: str, pools: set[str | None]) -> None:
    found = lanes(cell(link))
    assert {lane.pool for lane in found} == pools
    assert len({lane.key for lane in found}) == len(found) == (4 if "base" in link else 2)


def test_each_direction_has_its_own_channel() -> None:
    found = {lane.key: lane.channel for lane in lanes(loads(MESH))}
    assert found["cable", "edge", "far"].rate_bps == 1e6
    assert found["cable", "far", "edge"].rate_bps == 10e6


def test_following_first_hops_is_the_route() -> None:
    topology = loads(MESH)
    names = [node.name for node in topology.nodes]
    for a in names:
        for b in names:
            way = route(topology, a, b)
            if a == b:
                continue
            walked, here = [], a
            while b in first_hops(topology, here):
                walked.append(first_hops(topology, here)[b])
                here = walked[-1].target
                if here == b:
                    break
            assert tuple(walked) == (way or ()), (a, b)


def test_lanes_of_a_route_add_up_to_what_the_topology_says() -> None:
    topology = loads(MESH)
    found = {lane.key: lane.channel for lane in lanes(topology)}
    way = route(topology, "cam1", "hub")
    assert way is not None
    delays = [found[hop.link, hop.source, hop.target].delay_s for hop in way]
    assert sum(delays) == pytest.approx(between(topology, "cam1", "hub").delay_s)


def test_routes_leave_by_the_interface_of_the_first_link() -> None:
    layout = Layout(loads(MESH), "abc")
    routes = {each.target: each for each in layout.routes("cam1")}
    assert layout.address("lone") not in routes
    assert routes[layout.address("hub")].device == "air"
    assert routes[layout.address("hub")].gateway == layout.address("edge")
    assert routes[layout.address("edge")].gateway == layout.address("edge")


def test_a_table_says_the_same_in_fewer_words() -> None:
    layout = Layout(loads(MESH.replace(", lone: {}", "")), "abc")
    for node in layout.topology.nodes:
        table = list(layout.table(node.name))
        for each in layout.routes(node.name):
            fitting = [
                way
                for way in table
                if way.target.split(".")[: way.prefix // 8]
                == each.target.split(".")[: way.prefix // 8]
            ]
            best = max(fitting, key=lambda way: way.prefix)
            assert (best.gateway, best.device) == (each.gateway, each.device)
    assert len(list(layout.table("cam1"))) == 1


def test_a_table_has_no_way_to_what_cannot_be_reached() -> None:
    layout = Layout(loads(MESH), "abc")
    assert list(layout.table("cam1")) == list(layout.routes("cam1"))
    assert list(layout.table("lone")) == []


def test_names_and_addresses_are_unique() -> None:
    text = HEAD + "nodes: {n: {count: 300}}\nlinks: {lo: {members: n}}\n"
    layout = Layout(loads(text), "abc")
    names = [f"n{i}" for i in range(300)]
    assert len({layout.address(name) for name in names}) == 300
    assert len({layout.mac(name) for name in names}) == 300
    assert len({layout.control(name) for name in names} | {layout.control()}) == 301
    assert layout.address("n255") == "10.77.1.0"
    assert layout.mac("n255") == "02:00:0a:4d:01:00"


def test_interfaces_have_names_that_the_kernel_takes() -> None:
    names = ["lo", "control", "short", "a-name-longer-than-fifteen", "a-name-longer-than-15"]
    links = "".join(
        f"  {name}: {{rate: {i + 1} Mbit, between: [a, b{i}]}}\n" for i, name in enumerate(names)
    )
    layout = Layout(loads(HEAD + f"nodes: {{a: {{}}, b: {{count: 5}}}}\nlinks:\n{links}"), "abc")
    devices = [layout.device(name) for name in names]
    assert devices[2] == "short"
    assert len(set(devices)) == 5
    assert not {"lo", "control"} & set(devices)
    assert all(len(device) <= 15 for device in devices)
