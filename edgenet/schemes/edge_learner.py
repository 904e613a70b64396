"""The learner's half of `edgenet.schemes.edge_learning`: Algorithm 1 of the paper, whose lines are
cited; what it leaves open is answered there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from edgenet.links.protocol import Kind, Link
from edgenet.models.stage import Stage
from edgenet.schemes.allocation import Capability, Sizes, shards_within
from edgenet.schemes.bench import Rounds
from edgenet.schemes.edge_orchestrator import Watch
from edgenet.schemes.local import train_pass
from edgenet.schemes.shards import SentBatches, Study

_PARTS = 8


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a learner measured in a round."""

    shards: float
    download_s: float
    download_bytes: float
    pass_s: float
    """A pass over the shards at the speed of the last one; see `timed_pass`."""

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
    planned_s, passes, shards, offered = orchestrator.recv()  # step 1; lines 2-4
    able, sizes = benchmark(orchestrator, dummy, shards, study, watch)  # lines 9-16

    def request(able: Capability) -> int:
        wanted = shards_within(planned_s, passes, able, sizes)  # line 17, Eq. 5
        if wanted < 1:
            why = "not one shard can be downloaded and trained within the deadline"
            watch.note("log", level="warning", text=f"takes no part: {why}")
        return min(wanted, int(offered))

    orchestrator.send(request(able))  # step 3
    work(orchestrator, model, rounds, study, watch, lambda taken: request(taken.capability))


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
    pass_s = timed_pass(dummy, study.batches(x, y, 0), watch)  # lines 13-15
    shard_bytes = (x.nbytes + y.nbytes) / shards
    able = Taken(
        shards=shards,
        download_s=loaded_s - start_s,  # line 11
        download_bytes=x.nbytes + y.nbytes,
        pass_s=pass_s,
    ).capability  # lines 12, 16
    watch.note("benchmark", shards=shards, c=able.shards_per_s, b=able.bytes_per_s)
    return able, Sizes(model_bytes=sum(t.nbytes for t in dummy.state()), shard_bytes=shard_bytes)


def work(
    orchestrator: Link, model: Stage, rounds: Rounds, study: Study, watch: Watch,
    request: Callable[[Taken], int],
) -> None:  # fmt: skip
    """The learner's half of the rounds; `request` says how many shards to ask for next."""
    while number := orchestrator.recv():  # line 18; an empty message ends the training
        with rounds.enter(number):
            start_s = watch.clock()
            passes, x, y, weights = orchestrator.recv()  # lines 19, 20
            loaded_s, pass_s = watch.clock(), 0.0
            model.load(weights)
            batches = study.batches(x, y, number)
            for _ in range(passes):  # line 21
                pass_s = timed_pass(model, batches, watch)  # line 22
            end_s = watch.clock()
            nbytes = x.nbytes + y.nbytes + sum(t.nbytes for t in weights)
            taken = Taken(
                shards=len(y) / study.shard,
                download_s=loaded_s - start_s,
                download_bytes=nbytes,
                pass_s=pass_s,
            )
            watch.note("worked", shards=taken.shards, passes=passes, download_s=taken.download_s,
                       train_s=end_s - loaded_s)  # fmt: skip
            orchestrator.send(request(taken), model.state(), kind=Kind.WEIGHTS)  # line 23


def timed_pass(model: Stage, batches: SentBatches, watch: Watch) -> float:
    """Train on every batch once; returns the seconds that a pass takes now: those of this pass, or,
    where its last part (of `_PARTS`) was slower, of a whole pass as slow as that. A device that was
    slowed down in the middle would else be judged by the mean of two speeds."""
    starts: list[float] = []

    def stamped() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches:
            starts.append(watch.clock())
            yield batch

    begin_s = watch.clock()
    train_pass(model, stamped())
    end_s = watch.clock()
    last = -(-len(starts) // _PARTS)
    return max(end_s - begin_s, (end_s - starts[-last]) * len(starts) / last)
