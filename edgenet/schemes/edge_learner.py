"""The learner's half of `edgenet.schemes.edge_learning`: Algorithm 1 of the paper, whose lines are
cited; what it leaves open is answered there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgenet.links.protocol import Kind, Link
from edgenet.models.stage import Stage
from edgenet.schemes.allocation import Capability, Sizes, shards_within
from edgenet.schemes.bench import Rounds
from edgenet.schemes.edge_orchestrator import Watch
from edgenet.schemes.edge_passes import Passes, Window
from edgenet.schemes.shards import Study


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a learner measured in a round."""

    shards: float
    download_s: float
    download_bytes: float
    pass_s: float
    """A pass over the shards at the speed of the last one; see `Passes.pass_s`."""

    @property
    def capability(self) -> Capability:
        """c_k and b_k as they were just now."""
        return Capability(
            shards_per_s=self.shards / max(self.pass_s, 1e-9),
            bytes_per_s=self.download_bytes / max(self.download_s, 1e-9),
        )


def dab_learner(
    orchestrator: Link, model: Stage, dummy: Stage, rounds: Rounds, study: Study, watch: Watch
) -> None:
    """Algorithm 1. In `dab` the orchestrator pays no heed to the requests after the first."""
    planned_s, deadline_s, passes, shards, offered = orchestrator.recv()  # step 1; lines 2-4
    able, sizes = benchmark(orchestrator, dummy, shards, study, watch)  # lines 9-16
    takes_part = True

    def request(able: Capability) -> int:
        nonlocal takes_part
        wanted = shards_within(planned_s, passes, able, sizes)  # line 17, Eq. 5
        if wanted < 1 and takes_part:
            why = "not one shard can be downloaded and trained within the deadline"
            watch.note("log", level="warning", text=f"takes no part: {why}")
        takes_part = wanted >= 1
        return min(wanted, int(offered))

    def window(start_s: float) -> Window:
        return Window(start_s + planned_s, start_s + deadline_s) if deadline_s else Window()

    orchestrator.send(request(able))  # step 3
    work(orchestrator, model, rounds, study, watch, lambda taken: request(taken.capability), window)


def csa_learner(
    orchestrator: Link, model: Stage, dummy: Stage, rounds: Rounds, study: Study, watch: Watch
) -> None:
    """A learner that tells what it can do."""
    shards = orchestrator.recv()
    able, sizes = benchmark(orchestrator, dummy, shards, study, watch)
    orchestrator.send(able.shards_per_s, able.bytes_per_s, sizes.model_bytes, sizes.shard_bytes)
    work(orchestrator, model, rounds, study, watch, lambda _: 0)


def equal_learner(
    orchestrator: Link, model: Stage, rounds: Rounds, study: Study, watch: Watch
) -> None:
    """A learner that takes what it is given."""
    work(orchestrator, model, rounds, study, watch, lambda _: 0)


def benchmark(
    orchestrator: Link, dummy: Stage, shards: int, study: Study, watch: Watch
) -> tuple[Capability, Sizes]:
    """Subset benchmarking, section III.B: b_k from a download, c_k from a dummy model's training
    on it, one pass."""
    start_s = watch.clock()  # line 9
    orchestrator.send(shards)
    x, y = orchestrator.recv()  # line 10
    loaded_s = watch.clock()
    once = Passes(study.batches(x, y, 0), watch)
    once.train(dummy, 1)  # lines 13-15
    shard_bytes = (x.nbytes + y.nbytes) / shards
    able = Taken(
        shards=shards,
        download_s=loaded_s - start_s,  # line 11
        download_bytes=x.nbytes + y.nbytes,
        pass_s=once.pass_s,
    ).capability  # lines 12, 16
    watch.note("benchmark", shards=shards, c=able.shards_per_s, b=able.bytes_per_s)
    return able, Sizes(model_bytes=sum(t.nbytes for t in dummy.state()), shard_bytes=shard_bytes)


def work(
    orchestrator: Link, model: Stage, rounds: Rounds, study: Study, watch: Watch,
    request: Callable[[Taken], int], window: Callable[[float], Window] = lambda _: Window(),
) -> None:  # fmt: skip
    """The learner's half of the rounds.

    Args:
        request: says how many shards to ask for next.
        window: says within what a round that began at some moment has to be trained.
    """
    while number := orchestrator.recv():  # line 18; an empty message ends the training
        with rounds.enter(number):
            start_s = watch.clock()
            passes, x, y, weights = orchestrator.recv()  # lines 19, 20
            loaded_s = watch.clock()
            model.load(weights)
            trained = Passes(study.batches(x, y, number), watch, window(start_s))
            done = trained.train(model, passes)  # lines 21, 22
            end_s = watch.clock()
            nbytes = x.nbytes + y.nbytes + sum(t.nbytes for t in weights)
            taken = Taken(
                shards=len(y) / study.shard,
                download_s=loaded_s - start_s,
                download_bytes=nbytes,
                pass_s=trained.pass_s,
            )
            watch.note("worked", shards=taken.shards, passes=passes, download_s=taken.download_s,
                       train_s=end_s - loaded_s, given_up=not done)  # fmt: skip
            update = model.state() if done else []
            orchestrator.send(request(taken), update, kind=Kind.WEIGHTS)  # line 23
