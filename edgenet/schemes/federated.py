"""Federated learning: `fedavg` and `fedprox`.

McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data",
Algorithm 1 (FederatedAveraging), every client in every round:

    server:                                           client k, on w:
     1  initialise w_0                                 6  for each local epoch i from 1 to E:
     2  for each round t = 1, 2, ...:                  7      for batch b of P_k:
     3      for each client k in parallel:             8          w <- w - lr grad l(w; b)
     4          w_k <- update of client k, from w_t    9  return w to the server
     5      w_{t+1} <- sum over k of n_k/n w_k

FedProx (Li et al. 2020, Algorithm 2) changes line 8 alone: the gradient gains mu (w - w_t).

What the papers leave open. The optimizer's own state (momentum, Adam's moments) stays at its
learner from round to round. A learner that is late (`faults.deadline`) is not asked again until it
has answered, and its late answer is dropped: it belongs to an older w. A learner that is lost is
left out of n; one that joins late takes part from the next round on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.links.protocol import Kind, Link
from edgenet.models.stage import Stage
from edgenet.schemes.attendance import Attendance
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme
from edgenet.schemes.local import mean, train_pass


def server(roll: Attendance, model: Stage, rounds: Rounds) -> None:
    """The server's half of Algorithm 1; it trains nothing itself."""
    for number in rounds:  # line 2
        roll.begin()
        asked = roll.group.broadcast(model.state(), number, kind=Kind.WEIGHTS, to=roll.free)  # 3
        updates = roll.gather(asked)  # line 4
        if updates:
            states, samples, losses = zip(*updates.values(), strict=True)
            model.load(weighted_mean(states, samples))  # line 5
            loss = mean(losses)
        else:
            loss = math.nan
        rounds.report(state=model.state(), active=list(updates), loss=loss)
    roll.end()


def learner(
    server: Link, model: Stage, batches: Batches, rounds: Rounds, local_epochs: int, mu: float
) -> None:
    """A client's half of Algorithm 1: whenever weights come, train on them and send them back."""
    while order := server.recv():  # an empty message ends the training
        weights, number = order
        with rounds.enter(number):
            model.load(weights)
            loss = math.nan
            for _ in range(local_epochs):  # line 6
                loss = train_pass(model, batches, weights if mu else (), mu)  # lines 7, 8
            server.send(model.state(), batches.samples, loss, kind=Kind.WEIGHTS)  # line 9


def weighted_mean(states: Sequence[Sequence[Tensor]], samples: Sequence[int]) -> list[Tensor]:
    """sum over k of n_k/n w_k, tensor by tensor; summed in the given order, so that a run's result
    does not depend on who answered first. Integer buffers (BatchNorm's counter) are rounded."""
    total = sum(samples)
    weighted = []
    for versions in zip(*states, strict=True):
        floating = versions[0].is_floating_point()
        sum_ = torch.zeros_like(versions[0], dtype=None if floating else torch.float64)
        for version, count in zip(versions, samples, strict=True):
            sum_.add_(version, alpha=count / total)
        weighted.append(sum_ if floating else sum_.round().to(versions[0].dtype))
    return weighted


@dataclass(frozen=True, kw_only=True)
class ProxOptions:
    """FedProx's own settings."""

    mu_prox: float = 0.01
    """Weight mu >= 0 of the proximal term mu/2 ||w - w_t||^2; 0 is FedAvg."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.mu_prox < float("inf"):
            raise ValueError(f"mu_prox is {self.mu_prox}; it must be a number of 0 or more")


def _play_server(bench: Bench) -> None:
    roll = Attendance(bench.links("learner"), bench.deadline_s, bench.clock)
    server(roll, bench.model(), bench.rounds())


def _play_learner(bench: Bench) -> None:
    mu = bench.options.mu_prox if bench.options else 0.0
    batches, rounds = bench.batches(), bench.rounds()
    learner(bench.link("server"), bench.model(), batches, rounds, bench.local_epochs, mu)


_ROLES = (
    Role(name="server", play=_play_server, peers=("learner",)),
    Role(
        name="learner",
        play=_play_learner,
        peers=("server",),
        many=True,
        essential=False,
        returns=True,
        trains_on=True,
    ),
)

FEDAVG = Scheme(
    name="fedavg",
    summary="learners train the whole model, a server averages it (McMahan et al. 2017)",
    roles=_ROLES,
)

FEDPROX = Scheme(
    name="fedprox",
    summary="FedAvg with a proximal term that keeps learners near the server (Li et al. 2020)",
    roles=_ROLES,
    options=ProxOptions,
)
