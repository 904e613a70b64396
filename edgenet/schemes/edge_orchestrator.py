"""The orchestrator's half of `edgenet.schemes.edge_learning`, where the steps are listed: it
owns the data and serves it, and takes the mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edgenet.errors import NodeError
from edgenet.links.protocol import Kind, LinkGroup
from edgenet.models.stage import Stage
from edgenet.schemes.allocation import Capability, Sizes, Work, csa, equal_split, staleness
from edgenet.schemes.bench import Rounds
from edgenet.schemes.edge_recruits import Recruits
from edgenet.schemes.federated import weighted_mean
from edgenet.schemes.shards import Stock

OVER = Work(shards=0, passes=0)
"""Of a learner whose part has ended. One that asks for none has passes to make, but no shards."""
NOBODY = "no learner takes part (any more); raise train.deadline"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the orchestrator demands, and offers."""

    deadline_s: float
    """D."""
    passes: int
    """mu."""
    benchmark: int = 0
    """n: shards that learners measure themselves with."""
    margin: float = 0.0
    """Part of D that is kept free."""
    dynamic: bool = False
    """Whether the request that comes with an update counts for the next round."""
    misses: int = 0
    """So many deadlines missed in a row end a learner's part; 0: none do."""

    @property
    def planned_s(self) -> float:
        """The time that allocations fill."""
        return (1 - self.margin) * self.deadline_s


class Watch(Protocol):
    """What a learner measures with, and where it writes what it keeps to itself."""

    def clock(self) -> float:
        """Seconds since some moment."""

    def note(self, event: str, **fields: Any) -> None:
        """Append an event to the node's own journal."""


def dab_orchestrator(
    learners: LinkGroup, model: Stage, rounds: Rounds, stock: Stock, terms: Terms, watch: Watch
) -> None:
    """The orchestrator of `dab` and `dab-dynamic`: it learns requests, and nothing else."""

    def allot(wanted: Mapping[str, Any]) -> dict[str, Work]:
        return {name: Work(shards=shards, passes=terms.passes) for name, shards in wanted.items()}

    until_s = terms.deadline_s if terms.dynamic else 0.0
    offer = terms.planned_s, until_s, terms.passes, terms.benchmark, len(stock)  # step 1
    conduct(learners, model, rounds, stock, terms, Recruits(learners, stock, offer, allot), watch)


def csa_orchestrator(
    learners: LinkGroup, model: Stage, rounds: Rounds, stock: Stock, terms: Terms, watch: Watch
) -> None:
    """The orchestrator of `csa`: it is told what each learner can do, and decides."""
    known: dict[str, Any] = {}

    def allot(told: Mapping[str, Any]) -> dict[str, Work]:
        known.update(told)
        there = {name: known[name] for name in learners.names if name in known}
        able = [Capability(shards_per_s=c, bytes_per_s=b) for c, b, _, _ in there.values()]
        sizes = [Sizes(model_bytes=m, shard_bytes=d) for _, _, m, d in there.values()]
        works = csa(terms.planned_s, len(stock), able, sizes[0]) if sizes else []
        return dict(zip(there, works, strict=True))

    recruits = Recruits(learners, stock, (terms.benchmark,), allot)
    conduct(learners, model, rounds, stock, terms, recruits, watch)


def equal_orchestrator(
    learners: LinkGroup, model: Stage, rounds: Rounds, stock: Stock, terms: Terms, watch: Watch
) -> None:
    """The orchestrator of `equal-split`: it asks nothing and gives everybody the same."""

    def allot(_: Mapping[str, Any]) -> dict[str, Work]:
        names = learners.names
        dealt = zip(names, equal_split(len(stock), len(names)), strict=True)
        return {name: Work(shards=shards, passes=terms.passes) for name, shards in dealt}

    conduct(learners, model, rounds, stock, terms, Recruits(learners, stock, None, allot), watch)


def conduct(
    learners: LinkGroup, model: Stage, rounds: Rounds, stock: Stock, terms: Terms,
    recruits: Recruits, watch: Watch,
) -> None:  # fmt: skip
    """The rounds, steps 4 to 7, whoever decides on the work."""
    works = recruits.all()  # steps 2, 3
    late, misses, trained = set[str](), _recall(works, rounds), rounds.recall("trained", False)
    _refuse(works, len(stock), watch)
    for number in rounds:
        _forget(recruits.admit(), works, late, misses)
        works |= recruits.newcomers(0.0 if _free(learners, works, late) else terms.deadline_s)
        wait_s = terms.deadline_s if not _free(learners, works, late) else 0.0
        back = learners.gather(late, deadline_s=wait_s)  # only their requests are of use
        late -= set(back)
        _renew(works, back, terms, len(stock), watch)
        start_s = watch.clock()
        tried = _try(learners, works, late) if terms.dynamic else set[str]()
        asked = learners.broadcast(number, to=_free(learners, works, late))
        if not asked and not late and not recruits.coming:
            raise NodeError(NOBODY)
        _serve(learners, stock, number, {name: works[name] for name in asked}, model)  # step 4
        left_s = max(1e-3, terms.deadline_s - (watch.clock() - start_s))
        answers = _answers(learners, asked, tried, left_s)  # steps 5, 6
        there = set(asked).intersection(learners.names)
        updates = {name: state for name, (_, state) in answers.items() if state}
        if updates:
            model.load(weighted_mean(list(updates.values()), [1] * len(updates)))  # step 7
        away = len(there - tried - updates.keys())
        _report(rounds, model, [works[name] for name in updates], list(updates), away)
        late |= there.difference(answers)
        misses.update(late & there - tried)
        misses -= Counter({name: misses[name] for name in updates})
        _renew(works, answers, terms, len(stock), watch)
        _drop(works, misses, terms, watch)
        trained = trained or bool(updates)
        _remember(works, misses, trained, rounds)
    learners.gather(late, deadline_s=terms.deadline_s)  # nobody is cut off in the middle
    learners.broadcast()
    if terms.dynamic and not trained:
        raise NodeError(NOBODY)


def _recall(works: dict[str, Work], rounds: Rounds) -> Counter[str]:
    """Who missed how often, and had which works: those of a run that is resumed count."""
    for name, (shards, passes) in rounds.recall("works", {}).items():
        works[name] = Work(shards=shards, passes=passes)
    return Counter(rounds.recall("misses", {}))


def _remember(works: dict[str, Work], misses: Counter[str], trained: bool, rounds: Rounds) -> None:
    told = {name: (work.shards, work.passes) for name, work in works.items()}
    rounds.remember(misses=dict(misses), works=told, trained=trained)


def _forget(came: set[str], works: dict[str, Work], late: set[str], misses: Counter[str]) -> None:
    """What was agreed with newcomers before is over."""
    late -= came
    for name in came:
        misses.pop(name, None)
        works.pop(name, None)


def _serve(
    learners: LinkGroup, stock: Stock, number: int, works: dict[str, Work], model: Stage
) -> None:
    """Send everybody in `works` what it trains on in a round, and the parameters."""
    dealt = stock.draw(number, {name: work.shards for name, work in works.items()})
    for name, (x, y) in dealt.items():
        learners.send(name, works[name].passes, x, y, model.state(), kind=Kind.DATA)


def _try(learners: LinkGroup, works: dict[str, Work], late: set[str]) -> set[str]:
    """Give one shard to whoever asks for none, to hear what it can do by now; returns who."""
    idle = {name for name, work in works.items() if work.shards == 0 and work != OVER}
    tried = idle.intersection(learners.names) - late
    works |= {name: replace(works[name], shards=1) for name in tried}
    return tried


def _answers(
    learners: LinkGroup, asked: tuple[str, ...], tried: set[str], left_s: float
) -> dict[str, Any]:
    """What came in time, in file order. Who is only tried is not waited for, unless it is alone."""
    awaited = set(asked) - tried or tried
    there = learners.gather(awaited, deadline_s=left_s)
    there |= learners.gather(tried - awaited, deadline_s=0.0)
    return {name: there[name] for name in asked if name in there}


def _report(rounds: Rounds, model: Stage, served: list[Work], active: list[str], late: int) -> None:
    shards, stale = sum(work.shards for work in served), staleness(served)
    rounds.report(state=model.state(), active=active, late=late, shards=shards, staleness=stale)


def _free(learners: LinkGroup, works: dict[str, Work], late: set[str]) -> list[str]:
    """Who can be asked now, in file order."""
    return [n for n in learners.names if n not in late and works.get(n, OVER).shards > 0]


def _renew(
    works: dict[str, Work], answers: dict[str, Any], terms: Terms, offered: int, watch: Watch
) -> None:
    """Take the requests that came with the updates."""
    if terms.dynamic:
        for name, (wanted, _) in answers.items():
            if works[name] != OVER:
                works[name] = Work(shards=wanted, passes=terms.passes)
    _refuse(works, offered, watch)


def _refuse(works: dict[str, Work], offered: int, watch: Watch) -> None:
    """End the part of whoever asks for more than there is: no honest learner does."""
    for name, work in works.items():
        if work.shards > offered:
            works[name] = OVER
            why = f"{name} asked for {work.shards} shards, but {offered} are offered"
            watch.note("fault", peer=name, what="refused", why=why)


def _drop(works: dict[str, Work], misses: Counter[str], terms: Terms, watch: Watch) -> None:
    """End the part of whoever missed the deadline too often in a row."""
    for name in works:
        if terms.misses and misses[name] >= terms.misses and works[name] != OVER:
            works[name] = OVER
            times = "once" if terms.misses == 1 else f"{terms.misses} times in a row"
            why = f"{name} missed the deadline of {terms.deadline_s:g} s {times}"
            watch.note("fault", peer=name, what="dropped", why=why)
