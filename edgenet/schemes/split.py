"""Split learning: `ssl`, `psl`, `sfl`, `slr`, `sgl`, `sglr`.

Pal et al., "Server-side local gradient averaging and learning rate acceleration for scalable split
learning". Algorithm 1 (SGLR), with the paper's numbers of its lines:

     2  eta_c = eta_0                                             (clients' learning rate)
     3  eta_s = eta_0 |C|^alpha                                   (server's: SplitLr, Eq. 13)
     4  for each epoch:
     6      for each client i in parallel:                        (clients)
     7          s_i <- f(w_c,i, B_i)
     8          upload (s_i, Y_i)
    11      s <- [s_1 ... s_C],  Y <- [Y_1 ... Y_C]               (server)
    12      Y_p <- f(w_s, s)
    13      loss L
    14      gradient g_s = sum of delta_i g_s,i, delta_i = |D_i|/|D|            (Eq. 4)
    15      w_s <- w_s - eta_s g_s
    18      C_a <- phi C active clients                           (SplitAvg: averaging.py)
    19      download to C_a the mean of their gradients at the cut              (Eq. 15)
    20      download to each other client its own: of *its own mean loss*       (Eq. 5)
    22      for each client i in parallel:                        (clients)
    24, 27      g_c,i <- back-propagation
    25, 28      w_c,i <- w_c,i - eta_c g_c,i

The schemes (variants.py) are this algorithm with other choices: `psl` alpha 0 and phi 0; `slr` phi
0; `sgl` alpha 0. `sfl` (Thapa et al. 2021; Eqs. 9-10) is psl and FedAvg of the heads, once an epoch
or after every batch. `ssl` (Gupta & Raskar 2018; section 2.1) has one client at a time, and hands
the head on to the next by way of the server: clients have no links to each other, and Table 6
counts 2 S(w_c) a client.

What the papers leave open. Clients of unequal data, or late ones (`faults.deadline`), are at
different steps: a step is made by those whose upload is there, and delta is taken over them; so it
is when a client is lost. |C| of line 3 is the number of clients at the start. Under `sfl` with
sync: batch a client is averaged after a step if it has another one to make; at the end of the
round all are. The optimizer's own state stays where it is. A client that (re)joins takes part from
the next round on, with the common head under ssl and sfl, else with a copy of another client's.
The heads of the others are never synchronised, so "the" accuracy is that of every client's own
model: the test set is dealt out among them, and the model that is saved holds the mean of the heads
(what SFL would make of them). Heads travel to the server for this alone, as Kind.EVALUATION.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.averaging import common_gradient, draw_active, in_phase
from edgenet.schemes.bench import Batches, Rounds
from edgenet.schemes.federated import weighted_mean
from edgenet.schemes.local import mean, require_finite

_LEND = 0
"""In place of a round's number: the client is asked for a copy of its head."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells the family's schemes apart; the defaults are those of `psl`."""

    alpha: float = 0.0
    """SplitLr: the server learns |C|^alpha times as fast as the clients (Eq. 13)."""
    phi: float = 0.0
    """SplitAvg: fraction of the clients that is active in a step (Eq. 15)."""
    phases: str = "always"
    """SplitAvg: in which rounds (`averaging.in_phase`)."""
    sync: str = "never"
    """When heads are averaged: 'never', 'epoch' (once a round), or 'batch'."""
    in_turn: bool = False
    """One client after the other, instead of all at once."""

    @property
    def common_head(self) -> bool:
        """Whether every round starts from one head, which comes from the server."""
        return self.sync != "never"


class Share(NamedTuple):
    """What a client says of itself when it joins."""

    samples: int
    """|D_i|."""
    steps: int
    """Batches in a round."""


@dataclass(kw_only=True)
class Round:
    """What the server needs to know for one round, and what it notes down."""

    number: int
    variant: Variant
    phi: float
    """Of this round: 0 outside its phase."""
    seed: int
    """Of the draws of active clients."""
    deadline_s: float | None
    """A step does not wait longer than this for a client."""
    shares: Mapping[str, Share]
    losses: list[float] = field(default_factory=list)
    """Of every step."""
    took_part: set[str] = field(default_factory=set)
    averaged: list[tuple[str, ...]] = field(default_factory=list)
    """C_a of every step."""

    def figures(self) -> dict[str, Any]:
        """For `Rounds.report`."""
        found = {"loss": mean(self.losses), "active": sorted(self.took_part)}
        return found | ({"averaged": self.averaged} if self.phi else {})


def client(
    server: Link, head: Stage, batches: Batches, rounds: Rounds, local_epochs: int, variant: Variant
) -> None:
    """A client: the layers before the cut, and the data."""
    steps = local_epochs * len(batches)
    server.send(batches.samples, steps)
    while order := server.recv():  # an empty message ends the training
        number, common = order
        if number == _LEND:
            server.send(head.state(), kind=Kind.WEIGHTS)
            continue
        with rounds.enter(number):
            if common:
                head.load(common)
            left = steps
            for _ in range(local_epochs):  # line 4
                stream = iter(batches)
                batch = next(stream, None)
                while batch is not None:
                    x, y = batch
                    smashed = head.forward(x)  # line 7
                    server.send(smashed, compact(y), kind=Kind.ACTIVATION)  # line 8
                    batch = next(stream, None)  # prepared while the server computes
                    head.backward(server.recv())  # lines 24, 27
                    head.step()  # lines 25, 28
                    left -= 1
                    if variant.sync == "batch" and left:
                        server.send(head.state(), kind=Kind.WEIGHTS)
                        head.load(server.recv())
            if variant.common_head:
                server.send(head.state(), kind=Kind.WEIGHTS)
            elif rounds.due():
                server.send(head.state(), kind=Kind.EVALUATION)


def compact(labels: Tensor) -> Tensor:
    """Labels as they travel: in a byte each where they fit, not in torch's eight."""
    return labels.to(torch.uint8) if int(labels.max()) < 256 else labels


def server(
    clients: LinkGroup,
    tail: Stage,
    head: Sequence[Tensor],
    rounds: Rounds,
    variant: Variant,
    seed: int,
    deadline_s: float | None,
) -> None:
    """The server: the layers after the cut, and under ssl and sfl the head that all start from."""
    shares: dict[str, Share] = {}
    for number in rounds:  # line 4
        came = welcome(clients, shares)
        if variant.common_head:
            needy = set(clients.names)
        else:
            needy = came if number > 1 else set()
            head = borrow_head(clients, came) if needy else head
        phi = variant.phi if in_phase(variant.phases, number, len(rounds)) else 0.0
        this = Round(
            number=number, variant=variant, phi=phi, seed=seed, deadline_s=deadline_s, shares=shares
        )
        heads: dict[str, list[Tensor]] = {}
        for turn in [{n} for n in clients.names] if variant.in_turn else [set(clients.names)]:
            called = clients.broadcast(number, head, kind=Kind.WEIGHTS, to=turn & needy)
            called += clients.broadcast(number, [], to=turn - needy)
            train(clients, tail, called, this)
            if variant.common_head or rounds.due():
                heads = clients.gather(called)
            if variant.common_head and heads:
                head = average(heads, shares)
        if variant.common_head:
            rounds.remember(head=head)
            rounds.report(state=[*head, *tail.state()], **this.figures())
        elif heads:
            models = [[*own, *tail.state()] for own in heads.values()]
            state = [*average(heads, shares), *tail.state()]
            rounds.report(state=state, models=models, **this.figures())
        else:
            rounds.report(**this.figures())
    clients.broadcast()


def welcome(clients: LinkGroup, shares: dict[str, Share]) -> set[str]:
    """Take in who has come since the last round, and hear what they have; returns their names."""
    came = set(clients.admit()) | (set(clients.names) - set(shares))
    shares.update((name, Share(*said)) for name, said in clients.gather(came).items())
    return came & set(clients.names)


def borrow_head(clients: LinkGroup, came: set[str]) -> list[Tensor]:
    """A copy of the head of the first client that is not new; empty if all are."""
    for name in clients.names:
        if name not in came and clients.send(name, _LEND, []):
            for lent in clients.gather([name]).values():
                return lent  # type: ignore[no-any-return]
    return []


def train(clients: LinkGroup, tail: Stage, called: Sequence[str], this: Round) -> None:
    """Steps with the clients `called` until each has made its own, or is lost."""
    left = {name: this.shares[name].steps for name in called}
    while waited_for := [name for name in clients.names if left.get(name)]:
        uploads = clients.gather(waited_for, deadline_s=this.deadline_s)  # line 8
        if not uploads:
            continue
        for name in uploads:
            left[name] -= 1
        serve_step(clients, tail, uploads, this)
        again = [name for name in uploads if left[name]]
        if this.variant.sync == "batch" and again:
            heads = clients.gather(again)
            clients.broadcast(average(heads, this.shares), kind=Kind.WEIGHTS, to=heads)


def serve_step(
    clients: LinkGroup, tail: Stage, uploads: Mapping[str, tuple[Tensor, Tensor]], this: Round
) -> None:
    """One step of the server on the uploads {client: (smashed, labels)}.

    The gradients leave before the server's own update is made: nobody waits for it.
    """
    sizes = {name: len(labels) for name, (_, labels) in uploads.items()}
    total = sum(this.shares[name].samples for name in uploads)
    delta = {name: this.shares[name].samples / total for name in uploads}
    smashed = torch.cat([smashed for smashed, _ in uploads.values()])  # line 11
    logits = torch.split(tail.forward(smashed), list(sizes.values()))  # line 12
    loss, errors = 0.0, []
    for (name, (_, labels)), part in zip(uploads.items(), logits, strict=True):
        own_loss, own_error = cross_entropy(part, labels.long())  # line 13
        loss += delta[name] * own_loss
        errors.append(delta[name] * own_error)
    this.losses.append(require_finite(loss))
    cut = torch.split(tail.backward(torch.cat(errors)), list(sizes.values()))  # line 14
    own = {name: part / delta[name] for name, part in zip(sizes, cut, strict=True)}
    active = draw_active(sizes, this.phi, this.seed, this.number, len(this.averaged))  # line 18
    if active:
        common = common_gradient({name: own[name] for name in active})
        clients.broadcast(common, kind=Kind.GRADIENT, to=active)  # line 19
    for name, gradient in own.items():
        if name not in active:
            clients.send(name, gradient, kind=Kind.GRADIENT)  # line 20
    tail.step()  # line 15
    this.averaged.append(active)
    this.took_part |= set(uploads)


def average(heads: Mapping[str, Sequence[Tensor]], shares: Mapping[str, Share]) -> list[Tensor]:
    """FedAvg of heads, buffers included (Eqs. 8-9)."""
    return weighted_mean(list(heads.values()), [shares[name].samples for name in heads])
