"""`centralized`: one node holds the model and all the data. The reference for everything else."""

from __future__ import annotations

from edgenet.models.stage import Stage
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme
from edgenet.schemes.local import train_pass


def trainer(model: Stage, batches: Batches, rounds: Rounds, local_epochs: int) -> None:
    """Mini-batch gradient descent on the whole training set."""
    for _ in rounds:
        for _ in range(local_epochs):
            loss = train_pass(model, batches)
        rounds.report(state=model.state(), loss=loss)


def _play_trainer(bench: Bench) -> None:
    trainer(bench.model(), bench.batches(), bench.rounds(), bench.local_epochs)


CENTRALIZED = Scheme(
    name="centralized",
    summary="one node trains the whole model on all the data (the reference)",
    roles=(Role(name="trainer", play=_play_trainer, trains_on=True),),
)
