"""The network as text: a drawing for terminals, and the rows of the tables of `edgenet check`.

What a link does is known to edgenet.channels, a layer above; a caller passes its `channel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from edgenet.devices import Device
from edgenet.topology.nodes import shorten
from edgenet.topology.spec import Channel, LinkSpec, Node, Topology
from edgenet.units import format_flops, format_fraction, format_memory, format_rate, format_time

ChannelOf = Callable[[LinkSpec, str, str, Topology], Channel]
"""edgenet.channels.channel: what a link does from one node to another."""

COLLAPSE_ABOVE = 40
"""With more nodes than this, the members of a group are drawn as one."""

NODE_COLUMNS = ("node", "device", "cores", "memory", "training speed", "position")
LINK_COLUMNS = ("link", "kind", "between", "rate", "delay", "jitter", "loss")


@dataclass(frozen=True)
class _Branch:
    """Nodes that hang on a link in the same way."""

    nodes: tuple[Node, ...]
    up: Channel
    """Towards the head of the link."""
    down: Channel
    mixed: bool = False
    """These are the channels of the slowest of several nodes."""

    @property
    def name(self) -> str:
        return shorten([node.name for node in self.nodes])


def draw(topology: Topology, channel: ChannelOf) -> str:
    """The links in file order, each with the nodes on it; plain ASCII."""
    collapse = len(topology.nodes) > COLLAPSE_ABOVE
    lines = [f"{topology.name}: {_count(topology.nodes, 'node')}, {_count(topology.links, 'link')}"]
    for link in topology.links:
        lines += ["", *_draw_link(topology, link, _branches(topology, link, channel, collapse))]
    alone = _alone(topology)
    if alone:
        lines += ["", "on no link:"]
        lines += [f"    {_box(group)}" for group in _groups(alone, collapse)]
    return "\n".join(lines)


def node_rows(topology: Topology) -> list[tuple[str, ...]]:
    """One row per node, in the order of NODE_COLUMNS."""
    return [_node_row(node, topology.device(node.name)) for node in topology.nodes]


def link_rows(topology: Topology, channel: ChannelOf) -> list[tuple[str, ...]]:
    """One row per link, or per direction and distance where they differ; see LINK_COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for link in topology.links:
        head = _head(link)
        branches = _branches(topology, link, channel, collapse=True, exact=True)
        if head is None:
            rows.append((link.name, kind_of(link), shorten(link.ends), *_cells(branches[0].up)))
            continue
        for branch in branches:
            ways = [(branch.name, " <-> ", head, branch.up)]
            if branch.up != branch.down:
                ways = [(branch.name, " -> ", head, branch.up), (head, " -> ", branch.name,
                                                                branch.down)]  # fmt: skip
            for source, arrow, target, found in ways:
                rows.append((link.name, kind_of(link), source + arrow + target, *_cells(found)))
    return rows


def _draw_link(topology: Topology, link: LinkSpec, branches: Sequence[_Branch]) -> Iterator[str]:
    yield f"{link.name} ({kind_of(link)})"
    head = _head(link)
    yield f"    {_box((topology.node(head),)) if head else '(switch)'}"
    texts = [
        ("at least " if branch.mixed else "") + _describe(branch.up, branch.down)
        for branch in branches
    ]
    same = len(set(texts)) == 1
    yield f"      |   {texts[0]}" if same else "      |"
    boxes = [_box(branch.nodes) for branch in branches]
    width = max(len(box) for box in boxes)
    for index, (box, text) in enumerate(zip(boxes, texts, strict=True)):
        corner = "`--" if index == len(boxes) - 1 else "+--"
        yield f"      {corner} {box}" if same else f"      {corner} {box:<{width}}   {text}"


def _branches(
    topology: Topology, link: LinkSpec, channel: ChannelOf, collapse: bool, exact: bool = False
) -> list[_Branch]:
    """The nodes on the link but its head; neighbours of a group together if `collapse`.

    Args:
        exact: never put nodes together whose channels differ.
    """
    head = _head(link)
    single: list[_Branch] = []
    known = {node.name: node for node in topology.nodes}
    for index, end in enumerate(link.ends):
        if end != head:
            other = head or link.ends[index - 1]
            up = channel(link, end, other, topology)
            single.append(_Branch((known[end],), up, channel(link, other, end, topology)))
    if not collapse:
        return single
    return [_together(list(group)) for _, group in groupby(single, lambda b: _alike(b, exact))]


def _alike(branch: _Branch, exact: bool) -> tuple[object, ...]:
    return (branch.nodes[0].group, *((branch.up, branch.down) if exact else ()))


def _together(branches: Sequence[_Branch]) -> _Branch:
    """Several branches as one: the slowest of them."""
    slowest = min(branches, key=lambda branch: branch.up.rate_bps)
    nodes = tuple(node for branch in branches for node in branch.nodes)
    mixed = any((b.up, b.down) != (slowest.up, slowest.down) for b in branches)
    return _Branch(nodes, slowest.up, slowest.down, mixed)


def _head(link: LinkSpec) -> str | None:
    """The node that is drawn on top: the base, or the second end of a wire; None for a switch."""
    return link.base or (link.ends[1] if len(link.ends) == 2 else None)


def kind_of(link: LinkSpec) -> str:
    """'medium', 'wifi 802.11n shared medium', 'ethernet switch': in every table."""
    names = {"raw": "", "ethernet": "ethernet", "lte": "lte"}
    profile = names.get(link.profile, f"{link.profile} {link.options.get('value', '')}".strip())
    return shaped(profile, link.ends, link.base, shared=link.shared)


def shaped(profile: str, ends: Sequence[str], base: str | None, *, shared: bool) -> str:
    """The kind of a link: what it is called (may be empty), and its shape."""
    shape = "medium" if base else "wire" if len(ends) == 2 else "switch"
    return " ".join(word for word in (profile, "shared" if shared else "", shape) if word)


def _box(nodes: Sequence[Node]) -> str:
    """'[cam0..cam4] 5 x pi4, pi3'."""
    devices = ", ".join(dict.fromkeys(node.device for node in nodes))
    count = f"{len(nodes)} x " if len(nodes) > 1 else ""
    return f"[{shorten([node.name for node in nodes])}] {count}{devices}"


def _describe(up: Channel, down: Channel) -> str:
    if up == down:
        return _text(up)
    one_way = _text(Channel(rate_bps=up.rate_bps)), _text(Channel(rate_bps=down.rate_bps))
    if _but_rate(up) == _but_rate(down):
        rest = _text(up).partition(",")[2]
        return f"up {one_way[0]}, down {one_way[1]}" + (f",{rest}" if rest else "")
    return f"up {_text(up)}; down {_text(down)}"


def _but_rate(channel: Channel) -> tuple[float, float, float]:
    return channel.delay_s, channel.jitter_s, channel.loss


def _text(channel: Channel) -> str:
    """'20 Mbit/s, 25 ms, jitter 2 ms, loss 1 %'; without what is zero (loss: below 0.001 %)."""
    parts = [format_rate(channel.rate_bps)]
    parts += [format_time(channel.delay_s)] if channel.delay_s else []
    parts += [f"jitter {format_time(channel.jitter_s)}"] if channel.jitter_s else []
    parts += [f"loss {format_fraction(channel.loss)}"] if channel.loss >= 1e-5 else []
    return ", ".join(parts)


def _cells(channel: Channel) -> tuple[str, str, str, str]:
    return (
        format_rate(channel.rate_bps),
        format_time(channel.delay_s),
        format_time(channel.jitter_s),
        format_fraction(channel.loss) if channel.loss >= 1e-5 else "0 %",
    )


def _node_row(node: Node, device: Device) -> tuple[str, ...]:
    return (
        node.name,
        node.device,
        "as here" if device.cores is None else str(device.cores),
        "as here" if device.memory_bytes is None else format_memory(device.memory_bytes),
        "as here" if device.training_flops is None else format_flops(device.training_flops),
        "" if node.at is None else f"{node.at[0]:g}, {node.at[1]:g} m",
    )


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def _alone(topology: Topology) -> list[Node]:
    linked = {name for link in topology.links for name in (*link.ends, link.base)}
    return [node for node in topology.nodes if node.name not in linked]


def _groups(nodes: Sequence[Node], collapse: bool) -> list[tuple[Node, ...]]:
    if not collapse:
        return [(node,) for node in nodes]
    return [tuple(group) for _, group in groupby(nodes, lambda node: node.group)]
