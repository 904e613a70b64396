"""`centralized` and `local`: one node holds the model and all the data. The reference for all."""

from __future__ import annotations

from edgenet.models.stage import Stage
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme
from edgenet.schemes.local import mean, train_pass


def trainer(model: Stage, batches: Batches, rounds: Rounds, local_epochs: int) -> None:
    """Mini-batch gradient descent on the whole training set."""
    for _ in rounds:
        losses = [train_pass(model, batches) for _ in range(local_epochs)]
        rounds.report(state=model.state(), loss=mean(losses[-1:]))


def _play_trainer(bench: Bench) -> None:
    trainer(bench.model(), bench.batches(), bench.rounds(), bench.local_epochs)


CENTRALIZED = Scheme(
    name="centralized",
    summary="one node trains the whole model on all the data (the reference)",
    roles=(Role(name="trainer", play=_play_trainer, trains_on=True),),
)

LOCAL = Scheme(
    name="local",
    summary="the master trains alone, on all its data; the workers are left out (mcPipe, sec. V)",
    roles=(Role(name="master", play=_play_trainer, trains_on=True),),
)
