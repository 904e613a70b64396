"""Generalised federated learning: `gfl`, which averages some of the layers.

Malandrino and Chiasserini (FPL), section III and Eq. (1): "models for each of the five image
sources are separate, but some or all their layers are averaged at the end of each epoch", by
FedProx (Li et al. 2020); "one averaging round is executed after each local computation one".

     1  server: for each round, send the averaged layers w^l to every learner
     2  learner: for each of its batches, w <- w - lr (grad + mu (w^l - received w^l)), the term in
        mu for the averaged layers alone
     3  learner: send its averaged layers back
     4  server: w^l <- mean over the learners that have layer l                          (Eq. 1)

What the paper leaves open. The mean is weighted with the learners' samples, as in FedAvg; in the
paper's setting, every source sees every sample and the weights are equal. With `train.data.views`
each learner trains on all samples as it sees them; without, on its share of the partition. "The"
accuracy is that of every learner's own model in its own view, the test set being dealt out among
them; for that alone the other layers travel, as Kind.EVALUATION. The model that is kept holds their
mean. A round waits for every learner that is alive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.data import Eye
from edgenet.links.protocol import Kind, Link, LinkGroup
from edgenet.models.stage import Stage
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme, Setting
from edgenet.schemes.federated import ProxOptions, weighted_mean
from edgenet.schemes.local import mean, train_pass

Layers = Sequence[int]
"""Positions of the averaged layers' tensors in a model's state."""


def learner(
    server: Link, model: Stage, averaged: Layers, batches: Batches, rounds: Rounds,
    local_epochs: int, mu: float,
) -> None:  # fmt: skip
    """A learner: whenever averaged layers come, train with them and send them back."""
    while received := server.recv():  # an empty message ends the training
        layers, number = received
        with rounds.enter(number):
            anchor = model.state()  # the other layers are their own anchor: nothing pulls them
            for position, tensor in zip(averaged, layers, strict=True):
                anchor[position] = tensor
            model.load(anchor)
            for _ in range(local_epochs):
                loss = train_pass(model, batches, anchor if mu else (), mu)  # line 2
            state = model.state()
            server.send(
                [state[i] for i in averaged], batches.samples, loss, kind=Kind.WEIGHTS
            )  # line 3
            if rounds.due() and len(averaged) < len(state):
                own = [tensor for i, tensor in enumerate(state) if i not in averaged]
                server.send(own, kind=Kind.EVALUATION)


def server(
    learners: LinkGroup,
    initial: Sequence[Tensor],
    averaged: Layers,
    rounds: Rounds,
    test: Callable[[Mapping[str, Sequence[Tensor]]], Callable[[Tensor], Tensor]],
) -> None:
    """The server; it trains nothing. `test` makes, of {learner: its model}, what `Rounds.report`
    calls infer."""
    layers = rounds.recall("layers", [initial[i] for i in averaged])
    for number in rounds:
        learners.admit()
        asked = learners.broadcast(layers, number, kind=Kind.WEIGHTS)  # line 1
        updates = learners.gather(asked)
        states, samples, losses = zip(*updates.values(), strict=True)
        layers = weighted_mean(states, samples)  # line 4
        rounds.remember(layers=layers)
        figures: dict[str, Any] = {"loss": mean(losses), "active": list(updates)}
        if rounds.due():
            own = learners.gather(updates) if len(averaged) < len(initial) else dict.fromkeys(
                updates, ()
            )  # fmt: skip
            models = {name: join(layers, averaged, others) for name, others in own.items()}
            others = weighted_mean(list(own.values()), [updates[name][1] for name in own])
            figures |= {"state": join(layers, averaged, others), "infer": test(models)}
        rounds.report(**figures)
    learners.broadcast()


def join(layers: Sequence[Tensor], averaged: Layers, others: Sequence[Tensor]) -> list[Tensor]:
    """A whole state from its averaged tensors and the rest."""
    at = dict(zip(averaged, layers, strict=True))
    rest = iter(others)
    return [at[i] if i in at else next(rest) for i in range(len(layers) + len(others))]


@dataclass(frozen=True, kw_only=True)
class GflOptions(ProxOptions):
    """gFL's own settings; `mu_prox: 0` is FedAvg instead of FedProx."""

    averaged: tuple[str, ...] = ()
    """The layers that are averaged, F1/F2 or [F1, F2]; none named = all of them, which is FL."""


def positions(names: Sequence[str], layers: Sequence[str]) -> list[int]:
    """Where the tensors of `layers` stand among the state_dict keys `names`."""
    return [i for i, name in enumerate(names) if not layers or name.partition(".")[0] in layers]


def _play_server(bench: Bench) -> None:
    state = bench.layers().state_dict()
    averaged = positions(list(state), bench.options.averaged)
    whole = bench.layers()
    models = {name: copy.deepcopy(whole).eval() for name in bench.cast("learner")}
    eyes = {name: bench.eye(name) for name in models}

    def test(states: Mapping[str, Sequence[Tensor]]) -> Callable[[Tensor], Tensor]:
        for name, tensors in states.items():
            models[name].load_state_dict(dict(zip(state, tensors, strict=True)))
        return in_turn([(models[name], eyes[name]) for name in states])

    server(bench.links("learner"), list(state.values()), averaged, bench.rounds(), test)


def in_turn(models: Sequence[tuple[nn.Module, Eye]]) -> Callable[[Tensor], Tensor]:
    """A function from test samples to logits, every model taking its turn, with its own eye."""

    def infer(at: Tensor) -> Tensor:
        parts, places = [], []
        for number, (model, eye) in enumerate(models):
            places.append((at % len(models) == number).nonzero().flatten())
            parts.append(model(eye.inputs(eye.test(at[places[-1]]))))
        return torch.cat(parts)[torch.cat(places).argsort()]

    return infer


def _play_learner(bench: Bench) -> None:
    own: GflOptions = bench.options
    model, batches = bench.model(), bench.batches()
    averaged = positions(model.names, own.averaged)
    learner(
        bench.link("server"), model, averaged, batches, bench.rounds(), bench.local_epochs,
        own.mu_prox,
    )  # fmt: skip


def _model(setting: Setting) -> nn.Module:
    """One copy of the averaged layers, and one of the others for each learner."""
    layers = dict(setting.layers.named_children())
    own: GflOptions = setting.options
    for name in own.averaged:
        if name not in layers:
            raise ValueError(f"averaged names '{name}'; layers are {', '.join(layers)}")
    if any(shape != setting.image for shape in setting.shapes.values()):
        raise ValueError("data.views has a learner that sees no images; all train the same model")
    copied = [layer for name, layer in layers.items() if own.averaged and name not in own.averaged]
    more = [copy.deepcopy(layer) for _ in setting.cast["learner"][1:] for layer in copied]
    return nn.ModuleList([setting.layers, *more])


GFL = Scheme(
    name="gfl",
    summary="learners train the whole model, some of its layers are averaged (FPL sec. III)",
    roles=(
        Role(name="server", play=_play_server, peers=("learner",)),
        Role(
            name="learner",
            play=_play_learner,
            peers=("server",),
            many=True,
            essential=False,
            returns=True,
            trains_on=True,
            sees=True,
        ),
    ),
    options=GflOptions,
    model=_model,
)
