"""Split learning: `psl`, parallel split learning.

Pal et al., "Server-side local gradient averaging and learning rate acceleration for scalable split
learning" (SGLR), section 2.2 and Algorithm 1 without SplitLr and SplitAvg. Its lines, as numbered
in the paper:

     4  for each epoch:
     6      for each client i in parallel:                        (clients)
     7          s_i <- f(w_c,i, B_i)
     8          upload (s_i, Y_i)
    10      s <- [s_1 ... s_C],  Y <- [Y_1 ... Y_C]               (server)
    12      Y_p <- f(w_s, s)
    13      loss; gradient g_s = sum of delta_i g_s,i, delta_i = |D_i|/|D|      (Eq. 4)
    15      w_s <- w_s - lr g_s
    19      download to each client the gradient at the cut of *its own mean loss*  (Eq. 5)
    22      for each client i in parallel:                        (clients)
    26          g_c,i <- back-propagation
    27          w_c,i <- w_c,i - lr g_c,i

What the paper leaves open. Clients of unequal data run out of batches at different steps: a step
is made by those that still have one, and delta is taken over them; so it is when a client is lost.
The heads are never synchronised, so "the" accuracy is that of every client's own model: the test
set is dealt out among them, and the model that is saved holds the mean of the heads (what SFL
would make of them). Heads travel to the server for this alone, as Kind.EVALUATION.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme
from edgenet.schemes.federated import weighted_mean
from edgenet.schemes.local import mean, require_finite


def client(server: Link, head: Stage, batches: Batches, rounds: Rounds, local_epochs: int) -> None:
    """A client: the layers before the cut, and the data."""
    server.send(batches.samples, local_epochs * len(batches))
    for _ in rounds:
        for _ in range(local_epochs):  # line 4
            for x, y in batches:
                smashed = head.forward(x)  # line 7
                server.send(smashed, y, kind=Kind.ACTIVATION)  # line 8
                head.backward(server.recv())  # lines 19, 26
                head.step()  # line 27
        if rounds.due():
            server.send(head.state(), kind=Kind.EVALUATION)


def server(clients: LinkGroup, tail: Stage, rounds: Rounds) -> None:
    """The server: the layers after the cut, trained on all clients' smashed data at once."""
    samples, steps = {}, {}
    for name, share in clients.gather().items():
        samples[name], steps[name] = share
    for _ in rounds:
        losses, active = [], set[str]()
        for step in range(max(steps[name] for name in clients.names)):
            turn = [name for name in clients.names if steps[name] > step]
            uploads = clients.gather(turn)  # lines 8, 10
            if uploads:
                losses.append(serve_step(clients, tail, uploads, samples))
                active |= set(uploads)
        figures: dict[str, Any] = {"loss": mean(losses), "active": sorted(active)}
        if rounds.due():
            heads = clients.gather()
            average = weighted_mean(list(heads.values()), [samples[name] for name in heads])
            models = [[*head, *tail.state()] for head in heads.values()]
            rounds.report(state=[*average, *tail.state()], models=models, **figures)
        else:
            rounds.report(**figures)


def serve_step(
    clients: LinkGroup,
    tail: Stage,
    uploads: Mapping[str, tuple[Tensor, Tensor]],
    samples: Mapping[str, int],
) -> float:
    """One step of the server on the uploads {client: (smashed, labels)}; returns the loss.

    The gradients leave before the server's own update is made: nobody waits for it.
    """
    total = sum(samples[name] for name in uploads)
    delta = {name: samples[name] / total for name in uploads}
    logits = tail.forward(torch.cat([smashed for smashed, _ in uploads.values()]))  # lines 10, 12
    sizes = [len(labels) for _, labels in uploads.values()]
    loss, errors = 0.0, []
    for (name, (_, labels)), part in zip(uploads.items(), torch.split(logits, sizes), strict=True):
        own_loss, own_error = cross_entropy(part, labels)  # line 13
        loss += delta[name] * own_loss
        errors.append(delta[name] * own_error)
    require_finite(loss)
    cut = tail.backward(torch.cat(errors))
    for name, gradient in zip(uploads, torch.split(cut, sizes), strict=True):
        clients.send(name, gradient / delta[name], kind=Kind.GRADIENT)  # line 19
    tail.step()  # line 15
    return loss


def _play_server(bench: Bench) -> None:
    server(bench.links("client"), bench.tail(), bench.rounds())


def _play_client(bench: Bench) -> None:
    batches, rounds = bench.batches(), bench.rounds()
    client(bench.link("server"), bench.head(), batches, rounds, bench.local_epochs)


PSL = Scheme(
    name="psl",
    summary="parallel split learning: clients hold the lower layers, a server the upper (SGLR 2.2)",
    roles=(
        Role(name="server", play=_play_server, peers=("client",)),
        Role(
            name="client",
            play=_play_client,
            peers=("server",),
            many=True,
            essential=False,
            trains_on=True,
        ),
    ),
    cuts=True,
)
