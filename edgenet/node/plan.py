"""A plan: who plays which role, over which channels, with which settings. Fixed before any process
starts, and the same on every node that reads the same topology file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from edgenet import channels
from edgenet.data import Dataset
from edgenet.errors import TopologyError
from edgenet.node.ground import channel, ground_of
from edgenet.node.options import at_key, scheme_options, unused, without_foreign
from edgenet.node.placement import place
from edgenet.node.presence import check_presence
from edgenet.node.spares import check_spares
from edgenet.node.substance import check_substance, shares_of, whole_of
from edgenet.node.user_scheme import Code, is_path, load_scheme
from edgenet.schemes import SCHEMES, Role, Scheme
from edgenet.shaping.lanes import pool_of
from edgenet.topology import dump
from edgenet.topology.graph import direct, route
from edgenet.topology.spec import Channel, Topology


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One node with its role."""

    name: str
    role: str
    rank: int
    """Position among the seats; the rank under torchrun. Single roles come first."""
    device: str
    essential: bool
    """The run cannot go on without it."""
    peers: tuple[tuple[str, str], ...]
    """(peer's name, peer's role) of every link it has, in rank order."""
    share: int | None
    """Which share of the training data is its own; None if it trains on none."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A topology, resolved against the schemes, models, datasets and channels that exist."""

    topology: Topology
    scheme: Scheme
    options: Any = None
    """Instance of `scheme.options`, or None."""
    seats: tuple[Seat, ...]
    """In rank order. Nodes without a role have no seat and are not started."""
    parameters: int
    """Trained numbers of the whole model (of the scheme's own, where it has one)."""
    notes: tuple[str, ...] = ()
    """What a reader of the results has to know about the data, as sentences."""
    layout: Any = None
    """What the scheme's `arrange` made of the run, or None."""
    settled: tuple[str, ...] = ()
    """What was measured here and now stands in the topology, as settings (train.split=[C5,F3])."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Device's name in the file -> what it is called since a spare took a place (node.spares)."""
    digest: bytes = field(repr=False)
    """SHA-256 of the resolved topology, and of the scheme's code where that is the user's own:
    nodes that disagree on it do not link."""
    code: Code | None = field(default=None, repr=False)
    """The file that the scheme came from, where that is the user's own."""

    @property
    def casts(self) -> dict[str, tuple[str, ...]]:
        """Role -> the names of its nodes, in rank order."""
        return _casts(self.scheme, self.seats)

    @property
    def shares(self) -> int:
        """Into how many shares the training data is dealt."""
        return count_shares(self.seats)

    def seat(self, name: str) -> Seat:
        """The seat of node `name`; KeyError if it has none."""
        return {seat.name: seat for seat in self.seats}[name]

    def role(self, name: str) -> Role:
        """The role called `name`; KeyError if there is none."""
        return {role.name: role for role in self.scheme.roles}[name]

    def channel(self, source: str, target: str) -> Channel:
        """What the network does to one direction between two nodes: its hops, composed."""
        return channel(self.topology, source, target)

    def medium(self, source: str, target: str) -> str | None:
        """The shared medium (a cell, an access point's band) that `target` receives over when
        `source` sends: all that have the same name here hear a broadcast at once. Or None."""
        way = route(self.topology, source, target)
        if not way:
            return None
        links = {link.name: link for link in self.topology.links}
        return pool_of(links[way[-1].link], target)


def resolve(topology: Topology, *, measure: bool = True) -> Plan:
    """Check what needs knowledge of schemes, models, data and channels, and seat the nodes.

    Args:
        topology: as loaded.
        measure: whether what the topology wants measured (`train.balance`) may be measured here.
            It is written into the plan's topology; where nodes resolve a file each for itself,
            they would not agree.

    Raises:
        TopologyError: one sentence with file, line and the choices.
    """
    scheme, code = _scheme(topology)
    if code is not None:  # as it lies beside topology.yaml in the run's folder, on every host
        train = replace(topology.train, scheme=f"./{code.file}")
        topology = replace(topology, train=train)
    topology = without_foreign(topology, scheme)
    options = scheme_options(topology, scheme)
    seats = _seats(topology, scheme, options)
    channels.check(topology)
    channels.check_events(topology)
    for seat in seats:
        for peer, _ in seat.peers:
            channel(topology, seat.name, peer)
    dataset, layers = check_substance(topology, scheme, count_shares(seats) or 1)
    _check_shares(topology, scheme, options, seats, dataset)
    model: nn.Module = layers
    if scheme.model is not None:
        model = whole_of(topology, scheme, options, dataset, _casts(scheme, seats))
    layout, settled = _lay_out(topology, scheme, options, seats, dataset, measure=measure)
    if settled:
        topology, options = _with(topology, settled), replace(options, **settled)
    remarks = () if scheme.remark is None else (scheme.remark(layout),)
    plan = Plan(
        topology=topology,
        scheme=scheme,
        options=options,
        seats=seats,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layout=layout,
        settled=tuple(f"train.{key}=[{','.join(map(str, of))}]" for key, of in settled.items()),
        notes=(*dataset.notes, *unused(topology, scheme), *remarks),
        digest=hashlib.sha256(dump(topology).encode() + (code.content if code else b"")).digest(),
        code=code,
    )
    check_presence(plan)
    check_spares(plan)
    return plan


def _with(topology: Topology, settled: Mapping[str, Sequence[Any]]) -> Topology:
    """The topology with these options of its scheme, as a file would have them."""
    lists = {key: list(of) for key, of in settled.items()}
    train = replace(topology.train, options={**topology.train.options, **lists})
    return replace(topology, train=train)


def _scheme(topology: Topology) -> tuple[Scheme, Code | None]:
    """The scheme that the topology names, and its file where that is one of the user's own."""
    name = topology.train.scheme
    if is_path(name):
        return load_scheme(topology)
    if name not in SCHEMES:
        where, choices = topology.where("train.scheme"), ", ".join(SCHEMES)
        raise TopologyError(
            f"{where}: unknown scheme '{name}'; schemes are {choices}, or a file like "
            "./my_scheme.py"
        )
    return SCHEMES[name], None


def _casts(scheme: Scheme, seats: Sequence[Seat]) -> dict[str, tuple[str, ...]]:
    return {
        role.name: tuple(seat.name for seat in seats if seat.role == role.name)
        for role in scheme.roles
    }


def count_shares(seats: Sequence[Seat]) -> int:
    """Into how many shares the training data is dealt."""
    return sum(seat.share is not None for seat in seats)


def _check_shares(
    topology: Topology, scheme: Scheme, options: Any, seats: Sequence[Seat], dataset: Dataset
) -> None:
    """Ask the scheme whether it can work with the shares as they are dealt."""
    if scheme.check is None:
        return
    dealt = shares_of(topology, dataset, count_shares(seats))
    samples = {seat.name: len(dealt[seat.share]) for seat in seats if seat.share is not None}
    try:
        scheme.check(options, samples, topology.train.batch)
    except ValueError as error:
        raise at_key(topology, error) from None


def _lay_out(
    topology: Topology,
    scheme: Scheme,
    options: Any,
    seats: Sequence[Seat],
    dataset: Dataset,
    *,
    measure: bool,
) -> tuple[Any, Mapping[str, Any]]:
    """Let the scheme lay its work out over the nodes that have a seat: (its layout, the options
    that were measured for it)."""
    if scheme.arrange is None:
        return None, {}
    dealt = shares_of(topology, dataset, count_shares(seats))
    samples = {s.name: len(dealt[s.share]) for s in seats if s.share is not None}
    names = [seat.name for seat in seats]
    ground = ground_of(topology, options, names, samples, dataset, measure=measure)
    try:
        settled = scheme.settle(ground) if scheme.settle else {}
        if settled:
            ground = replace(ground, options=replace(options, **settled))
        return scheme.arrange(ground), settled
    except ValueError as error:
        raise at_key(topology, error) from None


def _seats(topology: Topology, scheme: Scheme, options: Any) -> tuple[Seat, ...]:
    placed = place(topology, scheme)
    ordered = sorted(scheme.roles, key=lambda role: role.many)
    roles = {node: role for role in ordered for node in placed[role.name]}
    apart = _apart(topology, scheme, options, tuple(roles))
    shares = {node: i for i, node in enumerate(n for n, role in roles.items() if role.trains_on)}
    ranks = {node: rank for rank, node in enumerate(roles)}
    return tuple(
        Seat(
            name=name,
            role=role.name,
            rank=rank,
            device=topology.node(name).device,
            essential=role.essential,
            peers=tuple(
                (peer, its.name)
                for peer, its in roles.items()
                if peer != name
                and its.name in role.peers
                and not (role.chain and its.chain and abs(rank - ranks[peer]) > 1)
                and not apart(name, peer)
            ),
            share=shares.get(name),
        )
        for rank, (name, role) in enumerate(roles.items())
    )


def _apart(
    topology: Topology, scheme: Scheme, options: Any, names: Sequence[str]
) -> Callable[[str, str], bool]:
    """Whether the scheme has no use for a link between two nodes that `peers` lets have one."""
    if scheme.meets is None:
        return lambda a, b: False
    try:
        meet = {*scheme.meets(options, names, partial(direct, topology, names))}
    except ValueError as error:
        raise at_key(topology, error) from None
    return lambda a, b: (a, b) not in meet and (b, a) not in meet
