"""Split learning in one process, written out from the paper's equations: what runs are held to."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.data import ShareBatches, load, partition, subset
from edgenet.models.layers import LayerList, build, cut
from edgenet.schemes.averaging import draw_active
from edgenet.topology.spec import Topology

cross_entropy = nn.functional.cross_entropy


def parts(spec: Topology, clients: int) -> tuple[LayerList, LayerList, list[ShareBatches]]:
    """(head, tail, the clients' batches) as the nodes of a run would make them."""
    train = spec.train
    dataset = subset(load(train.data.name, None), train.data, spec.seed)
    model = build(train.model, classes=10, shape=(1, 28, 28), seed=spec.seed)
    dealt = partition(dataset.train_y, train.partition, clients, spec.seed)
    shares = [ShareBatches(dataset, dealt[i], train.batch, spec.seed, i) for i in range(clients)]
    assert train.cut is not None
    return *cut(model, train.cut), shares


def optimizer(spec: Topology, layers: nn.Module, factor: float = 1.0) -> Any:
    """Torch's own, as the topology asks for it."""
    kind = torch.optim.Adam if spec.train.optimizer.name == "adam" else torch.optim.SGD
    return kind(layers.parameters(), lr=spec.train.lr * factor)


def mean_state(heads: Sequence[nn.Module], samples: Sequence[int]) -> dict[str, Tensor]:
    """FedAvg, buffers included."""
    total = sum(samples)
    states = [head.state_dict() for head in heads]
    mean = {}
    for key, like in states[0].items():
        sum_ = sum(
            n / total * state[key].double() for n, state in zip(samples, states, strict=True)
        )
        assert isinstance(sum_, Tensor)
        mean[key] = (sum_ if like.is_floating_point() else sum_.round()).to(like.dtype)
    return mean


def parallel(
    spec: Topology, clients: int, *, alpha: float = 0.0, phi: float = 0.0, sync: str = "never"
) -> dict[str, Tensor]:
    """Eqs. 4-17: the weights at the end; of the heads their mean."""
    first, tail, shares = parts(spec, clients)
    heads = [copy.deepcopy(first) for _ in shares]
    samples = [share.samples for share in shares]
    updates = [optimizer(spec, head) for head in heads]
    tail_update = optimizer(spec, tail, clients**alpha)  # Eq. 13

    def synchronise(who: Sequence[int]) -> None:
        if not who:
            return
        state = mean_state([heads[i] for i in who], [samples[i] for i in who])
        for i in who:
            heads[i].load_state_dict(state)

    for number in range(1, spec.train.rounds + 1):
        streams = [list(share) for share in shares]
        for step in range(max(map(len, streams))):
            turn = [i for i in range(clients) if len(streams[i]) > step]
            smashed = [heads[i](streams[i][step][0]) for i in turn]
            labels = [streams[i][step][1] for i in turn]
            errors = server_step(tail, tail_update, smashed, labels, [samples[i] for i in turn])
            sizes = {f"learner{i}": len(y) for i, y in zip(turn, labels, strict=True)}
            drawn = draw_active(sizes, phi, spec.seed, number, step)
            active = [turn.index(int(name.removeprefix("learner"))) for name in drawn]
            if active:  # Eq. 15, as a mean
                common = sum(errors[k] for k in active) / len(active)
                errors = [common if k in active else own for k, own in enumerate(errors)]
            for i, s, error in zip(turn, smashed, errors, strict=True):
                updates[i].zero_grad()
                s.backward(error)
                updates[i].step()
            if sync == "batch":
                synchronise([i for i in turn if len(streams[i]) > step + 1])
        if sync != "never":
            synchronise(range(clients))
    return {**mean_state(heads, samples), **tail.state_dict()}


def server_step(
    tail: nn.Module,
    update: Any,
    smashed: Sequence[Tensor],
    labels: Sequence[Tensor],
    samples: Sequence[int],
) -> list[Tensor]:
    """Eqs. 4, 6 for the server; returns the gradient of each client's own mean loss (Eq. 5)."""
    leaves = [s.detach().requires_grad_() for s in smashed]
    logits = tail(torch.cat(leaves)).split([len(y) for y in labels])
    losses = [cross_entropy(part, y) for part, y in zip(logits, labels, strict=True)]
    delta = [n / sum(samples) for n in samples]
    update.zero_grad()
    joint = sum(d * loss for d, loss in zip(delta, losses, strict=True))
    assert isinstance(joint, Tensor)
    joint.backward()
    update.step()
    return [leaf.grad / d for leaf, d in zip(leaves, delta, strict=True) if leaf.grad is not None]


def in_turn(spec: Topology, clients: int) -> dict[str, Tensor]:
    """Section 2.1: one model, on one client's batches after the other's. Plain SGD only: each
    client has an optimizer of its own."""
    head, tail, shares = parts(spec, clients)
    model = nn.ModuleList([head, tail])
    update = optimizer(spec, model)
    for _ in range(spec.train.rounds):
        for share in shares:
            for x, y in share:
                update.zero_grad()
                cross_entropy(tail(head(x)), y).backward()
                update.step()
    return {**head.state_dict(), **tail.state_dict()}
