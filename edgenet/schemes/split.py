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
is when a client is lost. A late client is waited for once (attendance.py); its next upload goes
into the step that is made when it comes. Steps that it owes when all the others are through were
made without it, so they come on top: there delta_i is |D_i| over the data of all, as if the others
were there. One deadline after that the round ends, and what is owed is dropped (`missed`). Under
ssl, a client that is late for two deadlines loses its turn. |C| of line 3 is the number of clients
at the start. Under `sfl` with sync: batch a client is averaged after a step if it has another one
to make; at the end of the round all are. The optimizer's own state stays where it is. A client that
(re)joins takes part from the next round on, with the common head under ssl and sfl, else with a
copy of another client's.
The heads of the others are never synchronised, so "the" accuracy is that of every client's own
model: the test set is dealt out among them, and the model that is saved holds the mean of the heads
(what SFL would make of them). Heads travel to the server for this alone, as Kind.EVALUATION.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.attendance import Attendance
from edgenet.schemes.averaging import common_gradient, draw_active, in_phase
from edgenet.schemes.bench import Batches, Rounds
from edgenet.schemes.federated import weighted_mean
from edgenet.schemes.local import require_finite
from edgenet.schemes.split_round import Round, Share, Variant

_LEND = 0
"""In place of a round's number: the client is asked for a copy of its head."""
_PATIENCE = 2
"""Deadlines that others wait for a client whose turn it is."""


def client(
    server: Link, head: Stage, batches: Batches, rounds: Rounds, local_epochs: int, variant: Variant
) -> None:
    """A client: the layers before the cut, and the data."""
    server.send(batches.samples, local_epochs * len(batches))
    while order := server.recv():  # an empty message ends the training
        number, common = order
        if number == _LEND:
            server.send(head.state(), kind=Kind.WEIGHTS)
            continue
        with rounds.enter(number):
            if common:
                head.load(common)
            if not play_round(server, head, batches, local_epochs, variant):
                head.forget()
            elif variant.common_head:
                server.send(head.state(), kind=Kind.WEIGHTS)
            elif rounds.due():
                server.send(head.state(), kind=Kind.EVALUATION)


def play_round(
    server: Link, head: Stage, batches: Batches, local_epochs: int, variant: Variant
) -> bool:
    """A client's steps; False when the server has ended the round without the rest of them."""
    left = local_epochs * len(batches)
    for _ in range(local_epochs):  # line 4
        stream = iter(batches)
        batch = next(stream, None)
        while batch is not None:
            x, y = batch
            smashed = head.forward(x)  # line 7
            server.send(smashed, compact(y), kind=Kind.ACTIVATION)  # line 8
            batch = next(stream, None)  # prepared while the server computes
            gradient = server.recv()
            if isinstance(gradient, tuple):
                return False
            head.backward(gradient)  # lines 24, 27
            head.step()  # lines 25, 28
            left -= 1
            if variant.sync == "batch" and left:
                server.send(head.state(), kind=Kind.WEIGHTS)
                common = server.recv()
                if isinstance(common, tuple):
                    return False
                head.load(common)
    return True


def compact(labels: Tensor) -> Tensor:
    """Labels as they travel: in a byte each where they fit, not in torch's eight."""
    return labels.to(torch.uint8) if int(labels.max()) < 256 else labels


def server(
    roll: Attendance,
    tail: Stage,
    head: Sequence[Tensor],
    rounds: Rounds,
    variant: Variant,
    seed: int,
) -> None:
    """The server: the layers after the cut, and under ssl and sfl the head that all start from."""
    clients, shares = roll.group, dict[str, Share]()
    for number in rounds:  # line 4
        came = welcome(roll, shares)
        if variant.common_head:
            needy = set(clients.names)
        else:
            needy = came if number > 1 else set()
            head = borrow_head(roll, came) if needy else head
        phi = variant.phi if in_phase(variant.phases, number, len(rounds)) else 0.0
        this = Round(number=number, variant=variant, phi=phi, seed=seed, shares=shares)
        heads: dict[str, list[Tensor]] = {}
        free = [name for name in roll.free if name in shares]
        for turn in [{name} for name in free] if variant.in_turn else [set(free)]:
            called = clients.broadcast(number, head, kind=Kind.WEIGHTS, to=turn & needy)
            called += clients.broadcast(number, [], to=turn - needy)
            through = train(roll, tail, called, this)
            if variant.common_head or rounds.due():
                heads = roll.gather_some(through, times=_PATIENCE if variant.in_turn else math.inf)
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
    roll.end()


def welcome(roll: Attendance, shares: dict[str, Share]) -> set[str]:
    """Take in who has come since the last round, and hear what they have; returns their names. Only
    at the start they are waited for however long it takes."""
    wait_s = roll.deadline_s if shares else None
    for name in roll.begin():
        shares.pop(name, None)
    heard = roll.group.gather(set(roll.group.names) - set(shares), deadline_s=wait_s)
    shares.update((name, Share(*said)) for name, said in heard.items())
    return set(heard)


def borrow_head(roll: Attendance, came: set[str]) -> list[Tensor]:
    """A copy of the head of the first client that is not new and not late; empty if all are."""
    asked = []
    for name in roll.free:
        if name not in came and roll.group.send(name, _LEND, []):
            asked.append(name)
            if lent := roll.gather(asked):
                break
    else:
        lent = roll.gather_some(asked)
    return next(iter(lent.values()), [])


def train(roll: Attendance, tail: Stage, called: Sequence[str], this: Round) -> list[str]:
    """Steps with the clients `called`, until each has made its own, is lost, or has been late for
    too long; returns who has made them all."""
    left = {name: this.shares[name].steps for name in called}
    made, until_s = 0, None
    while waited_for := [name for name in roll.group.names if left.get(name)]:
        among: Sequence[str] = ()
        if holding_up(waited_for, left, made, roll, this):
            until_s = roll.limit() if until_s is None else until_s
            among = [name for name in called if name in roll.group.names]
        else:
            until_s = None
        uploads = roll.gather(waited_for, until_s=until_s)  # line 8
        for name in uploads:
            left[name] -= 1
        if uploads:
            serve_step(roll.group, tail, uploads, this, among or list(uploads))
            made += 1
        elif until_s is not None:
            drop(roll, waited_for, left, this)
        if uploads and this.variant.sync == "batch":
            even_out(roll, [name for name in uploads if left[name]], left, this)
    return [name for name in roll.group.names if left.get(name) == 0]


def holding_up(
    names: Sequence[str], left: Mapping[str, int], made: int, roll: Attendance, this: Round
) -> bool:
    """Whether nobody but clients that were late still has steps to make, and others wait: those
    that are through with theirs, or those whose turn comes next."""
    if this.variant.in_turn:
        return roll.late.issuperset(names)
    through = any(left.get(name) == 0 for name in roll.group.names)
    return through and all(made >= this.shares[name].steps for name in names)


def even_out(roll: Attendance, names: Sequence[str], left: dict[str, int], this: Round) -> None:
    """FedAvg of the heads of those that have another step to make."""
    heads = roll.gather_some(names)
    if heads:
        roll.group.broadcast(average(heads, this.shares), kind=Kind.WEIGHTS, to=heads)
    drop(roll, [name for name in names if name not in heads], left, this)


def drop(roll: Attendance, names: Sequence[str], left: dict[str, int], this: Round) -> None:
    """End the round for the living among clients that have steps left."""
    names = [name for name in names if name in roll.group.names]
    roll.dismiss(names)
    this.missed.update((name, left.pop(name)) for name in names)


def serve_step(
    clients: LinkGroup,
    tail: Stage,
    uploads: Mapping[str, tuple[Tensor, Tensor]],
    this: Round,
    among: Sequence[str],
) -> None:
    """One step of the server on the uploads {client: (smashed, labels)}, where delta_i is the part
    that client i has of the data of the clients `among`.

    The gradients leave before the server's own update is made: nobody waits for it.
    """
    sizes = {name: len(labels) for name, (_, labels) in uploads.items()}
    total = sum(this.shares[name].samples for name in among)
    delta = {name: this.shares[name].samples / total for name in uploads}
    smashed = torch.cat([smashed for smashed, _ in uploads.values()])  # line 11
    logits = torch.split(tail.forward(smashed), list(sizes.values()))  # line 12
    loss, errors = 0.0, []
    for (name, (_, labels)), part in zip(uploads.items(), logits, strict=True):
        own_loss, own_error = cross_entropy(part, labels.long())  # line 13
        loss += delta[name] * own_loss
        errors.append(delta[name] * own_error)
    this.losses.append(require_finite(loss / sum(delta.values())))
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
