"""What chaos does to which run: drawn from a seed before anything starts, and what policy allows.

A case is one run of one scheme with faults that come one after the other. Same seed, same cases.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from edgenet.node.plan import Plan, resolve
from edgenet.schemes import SCHEMES
from edgenet.topology.load import loads

SILENCE_S = 3.0
ROUNDS = 30
CHECKPOINT = 3
RESTART = 2

HARD = ("kill", "freeze", "wake", "cut")
"""SIGKILL; SIGSTOP for good; SIGSTOP until its peers have dropped it; link down for as long."""
MILD = ("pause", "blink", "burst")
"""SIGSTOP or link down for less than `silence`; a link's delay up and its rate down for a while."""
ON_LINKS = ("cut", "blink", "burst")

_LONG = ("wake", "cut")
_FAULTS_A_RUN = 2
_WINDOWS = ((2, 9), (14, 25))
"""The rounds after which the first and the second fault of a run come."""
_RELAYED = 25
"""One case in so many crosses namespaces and the relay instead of paced links."""

TIMED = "csa"
"""It fills its deadline with as many passes as it measures that there is time for, so that the same
weights never come twice."""

_OWN: Mapping[str, str] = {
    **dict.fromkeys(("ssl", "psl", "sfl", "slr", "sgl", "sglr"), "cut: 1"),
    "gfl": "averaged: [F1]",
    "equal-split": "shard: 20, deadline: 1000 s",
    **dict.fromkeys(("dab", "dab-dynamic"), "shard: 20, benchmark: 2, deadline: 1000 s"),
    TIMED: "shard: 20, benchmark: 2, deadline: 500 ms",
}
"""What a scheme wants under `train:` besides."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One blow."""

    kind: str
    node: str
    """Whom it hits; of a link, the node at its far end."""
    after: int
    """It comes when this round has been reported."""
    length_s: float
    """Until it is taken back; 0: never."""

    @property
    def hard(self) -> bool:
        """Whether peers drop the node because of it."""
        return self.kind in HARD


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    number: int
    scheme: str
    restart: int
    """`faults.restart`."""
    shaping: str
    """'paced' or 'relay'."""
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Cast:
    """Who plays in a run of a scheme."""

    nodes: tuple[str, ...]
    essential: frozenset[str]
    peers: Mapping[str, frozenset[str]]


def topology(scheme: str, restart: int) -> str:
    """The file of a small run: digits, three layers, at most four nodes."""
    in_row = any(role.chain for role in SCHEMES[scheme].roles) or scheme == "d-sgd"
    learners = 2 if in_row else 3
    ends = "members: [server, learner]" if in_row else "base: server, members: learner"
    own = f", {_OWN[scheme]}" if scheme in _OWN else ""
    return f"""\
name: chaos
nodes: {{server: {{device: host}}, learner: {{device: host, count: {learners}}}}}
links: {{lan: {{rate: 100 Mbit, delay: 2 ms, {ends}}}}}
train: {{scheme: {scheme}, model: two-nn-small, data: {{name: digits, train: 240, test: 60}},
        rounds: {ROUNDS}, batch: 20, lr: 0.05{own}}}
faults: {{heartbeat: 0.5 s, silence: {SILENCE_S:g} s, restart: {restart}, checkpoint: {CHECKPOINT}}}
seed: 7
"""


@cache
def cast(scheme: str) -> Cast:
    """Who plays in it."""
    plan: Plan = resolve(loads(topology(scheme, 0), file=f"{scheme}.yaml"))
    return Cast(
        nodes=tuple(seat.name for seat in plan.seats),
        essential=frozenset(seat.name for seat in plan.seats if seat.essential),
        peers={seat.name: frozenset(name for name, _ in seat.peers) for seat in plan.seats},
    )


def draw(seed: int, faults: int, relay: bool) -> list[Case]:
    """So many faults, dealt over all schemes in turn.

    Args:
        seed: the same gives the same cases.
        faults: how many; every scheme has one if there are enough.
        relay: whether some may run over namespaces (root).
    """
    chance = random.Random(seed)
    order = list(SCHEMES)
    cases = list[Case]()
    for number, count in enumerate(_counts(faults, len(order))):
        scheme = order[number % len(order)]
        restart = 0 if chance.random() < 0.25 else RESTART
        shaping = "relay" if relay and number % _RELAYED == _RELAYED - 1 else "paced"
        blows = _blows(chance, cast(scheme), count, restart)
        cases.append(
            Case(number=number, scheme=scheme, restart=restart, shaping=shaping, faults=blows)
        )
    return cases


def _blows(chance: random.Random, who: Cast, count: int, restart: int) -> tuple[Fault, ...]:
    """The faults of a run: of two, the first must not be the run's end, nor outlast the second."""
    first = (*(("kill", "freeze") if restart else ()), *MILD)
    last = (*HARD, *_LONG, *MILD)
    kinds = (first, last)[-count:]
    return tuple(_fault(chance, who, *each) for each in zip(kinds, _WINDOWS, strict=False))


def _counts(faults: int, schemes: int) -> Iterator[int]:
    """How many each case gets: one each while there are few, else two."""
    left, most = faults, 1 if faults <= schemes else _FAULTS_A_RUN
    while left > 0:
        yield min(most, left)
        left -= most


def _fault(
    chance: random.Random, who: Cast, kinds: Sequence[str], window: tuple[int, int]
) -> Fault:
    alone = len(who.nodes) == 1
    kind = chance.choice([kind for kind in kinds if not (alone and kind in ON_LINKS)])
    # A link is named by its far end; the first node is the base of all.
    node = chance.choice(who.nodes[1:] if kind in ON_LINKS else who.nodes)
    # A node that nobody listens to is dropped by nobody: it is woken up, or waits for ever.
    if alone and kind == "freeze":
        kind = "wake"
    mild, dropped = chance.uniform(0.2, 0.4 * SILENCE_S), SILENCE_S + chance.uniform(0.5, 1.5)
    length = {"kill": 0.0, "freeze": 0.0, "wake": dropped, "cut": dropped}.get(kind, mild)
    return Fault(kind=kind, node=node, after=chance.randint(*window), length_s=round(length, 3))


def bound_s(undisturbed_s: float, faults: Sequence[Fault]) -> float:
    """How long a run may take before it counts as hung.

    Every fault may be dropped after its length and silence, be ended within 15 s (docs/faults.md),
    and cost a new start with all the work again.
    """
    each = sum(fault.length_s + SILENCE_S + 15.0 + 2 * undisturbed_s for fault in faults)
    return 2 * undisturbed_s + each
