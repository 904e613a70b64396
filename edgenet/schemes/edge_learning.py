"""Parallelised mobile edge learning: `dab`, `dab-dynamic`, `csa`, `equal-split`.

Mays, Elsayed, Hassanein, "Decentralized Data Allocation via Local Benchmarking for Parallelized
Mobile Edge Learning" (DAB). The orchestrator owns the data; in each global round a learner
downloads shards and parameters, trains and uploads. Section III.A:

    1  the orchestrator sends the deadline D      5  the learner makes mu passes over them
    2  the learner measures c_k and b_k           6  it uploads its parameters
    3  it finds its upper bound a_k (Eq. 5)       7  the orchestrator takes the plain mean,
    4  it downloads a_k shards and parameters        and so on from step 4

and at the learner, Algorithm 1: lines 9-12 download n shards for b_k, 13-16 train a dummy model on
them for c_k, 17 is Eq. 5, 18-23 are the rounds. In `dab` and `dab-dynamic` nothing leaves a learner
but requests for a number of shards, and parameters; `csa` learners tell c_k and b_k.

What the paper leaves open. A round's time starts when the orchestrator announces it. A learner that
has not answered by D is late: its update is dropped, and it is not asked again until it has
answered. Eq. 5 leaves no room for the error of its own estimates, so learners plan for (1 - margin)
D; margin 0 is the paper. A learner whose a_k is below 1 asks for none, says why in its own journal,
and takes no part. No learner is told more shards than there are, so it asks for at most all.

`dab-dynamic`, the paper's future work: with its update a learner asks for the shards of its next
round, by Eq. 5 on that round's own times (c_k from the last pass, or from its end if that was
slower). A learner that is beyond its plan and cannot be done by D gives the round up and sends the
request alone, so that it can be asked again at once. Who asks for none is tried with one shard a
round and asked for its wish anew, since it may have become faster: nobody waits for it, its update
is taken if it comes in time, and a miss is none. So the run goes on while there is such a learner;
if none has sent an update by its end, it ends as one in which no learner takes part. A request
above the offer is refused and ends the learner's part; so does missing D `misses` times in a row,
of the rounds in which it was asked. One that gives a round up in time has answered: it does not
miss D, and has not kept it either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from edgenet.links.protocol import LinkGroup
from edgenet.models.stage import Stage
from edgenet.schemes.bench import Bench, Role, Rounds, Scheme
from edgenet.schemes.edge_learner import csa_learner, dab_learner, equal_learner
from edgenet.schemes.edge_orchestrator import (
    Terms,
    Watch,
    csa_orchestrator,
    dab_orchestrator,
    equal_orchestrator,
)
from edgenet.schemes.shards import Stock, Study
from edgenet.units import parse_time


@dataclass(frozen=True, kw_only=True)
class EqualOptions:
    """The settings of `equal-split`; the paper's by default."""

    deadline: str = "15 s"
    """D: a round does not wait longer for anybody."""
    iterations: int = 5
    """mu: passes over its shards that a learner makes in a round."""
    shard: int = 500
    """Samples in a shard."""

    def __post_init__(self) -> None:
        try:
            deadline_s = parse_time(self.deadline)
        except ValueError as error:
            raise ValueError(f"deadline: {error}") from None
        if deadline_s <= 0:
            raise ValueError(f"deadline is {self.deadline}; it must be above 0")
        for key in ("iterations", "shard"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be at least 1")

    @property
    def terms(self) -> Terms:
        """As the roles take them."""
        return Terms(deadline_s=parse_time(self.deadline), passes=self.iterations)


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(EqualOptions):
    """The settings of `dab`, `dab-dynamic` and `csa`."""

    benchmark: int = 4
    """n: shards that a learner measures itself with (the paper: 2 to 8)."""
    margin: float = 0.1
    """Part of the deadline that allocations leave free for the error of the estimates; the paper
    has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.benchmark < 1:
            raise ValueError(f"benchmark is {self.benchmark}; it must be at least 1 shard")
        if not 0.0 <= self.margin < 1.0:
            raise ValueError(f"margin is {self.margin}; it must be a fraction from 0 to below 1")

    @property
    def terms(self) -> Terms:
        """As the roles take them."""
        return Terms(
            deadline_s=parse_time(self.deadline),
            passes=self.iterations,
            benchmark=self.benchmark,
            margin=self.margin,
        )


@dataclass(frozen=True, kw_only=True)
class DynamicOptions(EdgeOptions):
    """The settings of `dab-dynamic`."""

    misses: int = 2
    """So many deadlines missed in a row end a learner's part."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.misses < 1:
            raise ValueError(f"misses is {self.misses}; it must be at least 1")

    @property
    def terms(self) -> Terms:
        """As the roles take them."""
        return replace(super().terms, dynamic=True, misses=self.misses)


def _check(options: EqualOptions, samples: Mapping[str, int], batch: int) -> None:
    """The training set must fill the shards that are asked for."""
    there = sum(samples.values())
    least = getattr(options, "benchmark", 1)
    if there < least * options.shard:
        raise ValueError(
            f"shard is {options.shard}, but the {there} training samples do not fill "
            + ("one shard" if least == 1 else f"the {least} shards of the benchmark")
        )


Orchestrator = Callable[[LinkGroup, Stage, Rounds, Stock, Terms, Watch], None]


def _play_orchestrator(role: Orchestrator, bench: Bench) -> None:
    stock = Stock(bench.dataset(), bench.options.shard, bench.seed)
    role(bench.links("learner"), bench.model(), bench.rounds(), stock, bench.options.terms, bench)


def _study(bench: Bench) -> Study:
    return Study(
        dataset=bench.dataset(),
        batch=bench.batch,
        shard=bench.options.shard,
        seed=bench.seed,
        learner=bench.name,
    )


def _play_dab_learner(bench: Bench) -> None:
    link, rounds = bench.link("orchestrator"), bench.rounds()
    dab_learner(link, bench.model(), bench.model(), rounds, _study(bench), bench)


def _play_csa_learner(bench: Bench) -> None:
    link, rounds = bench.link("orchestrator"), bench.rounds()
    csa_learner(link, bench.model(), bench.model(), rounds, _study(bench), bench)


def _play_equal_learner(bench: Bench) -> None:
    equal_learner(bench.link("orchestrator"), bench.model(), bench.rounds(), _study(bench), bench)


def _roles(orchestrator: Orchestrator, learner: Callable[[Bench], None]) -> tuple[Role, ...]:
    return (
        Role(
            name="orchestrator",
            play=partial(_play_orchestrator, orchestrator),
            peers=("learner",),
            trains_on=True,
        ),
        Role(
            name="learner",
            play=learner,
            peers=("orchestrator",),
            many=True,
            essential=False,
            returns=True,
        ),
    )


DAB = Scheme(
    name="dab",
    summary="learners decide by benchmarks of their own how many shards they take (DAB, sec. III)",
    roles=_roles(dab_orchestrator, _play_dab_learner),
    options=EdgeOptions,
    check=_check,
)

DAB_DYNAMIC = Scheme(
    name="dab-dynamic",
    summary="dab with a new decision each round (DAB, sec. V: future work)",
    roles=_roles(dab_orchestrator, _play_dab_learner),
    options=DynamicOptions,
    check=_check,
)

CSA = Scheme(
    name="csa",
    summary="the orchestrator knows every learner and deals out shards and passes (DAB, sec. IV)",
    roles=_roles(csa_orchestrator, _play_csa_learner),
    options=EdgeOptions,
    check=_check,
)

EQUAL_SPLIT = Scheme(
    name="equal-split",
    summary="every learner gets the same number of shards, whatever it can do",
    roles=_roles(equal_orchestrator, _play_equal_learner),
    options=EqualOptions,
    check=_check,
)

EDGE_LEARNING = (DAB, DAB_DYNAMIC, CSA, EQUAL_SPLIT)
"""The schemes of this file."""
