"""Pipelines: `model-parallel`, `gpipe`, `1f1b`, `pipedream`, `pipedream-2bw`, `greedy`, `mcpipe`,
`mcpipe-adaptive`.

Li et al., "Model-distributed DNN training for memory-constrained edge computing devices" (mcPipe),
Examples 1 and 2. Worker n holds the layers of stage n:

    forward     a_n(k) from a_(n-1)(k), with the version that the timetable names; on to worker n+1
    backward    the error of a_n(k) from worker n+1, with the version that the forward used;
                the error of its input on to worker n-1
    update      w^(gamma+1) = w^(gamma) - eta (gradient of k): of the newest version, whatever
                version k used

In which order is data (timetable.py); how versions are kept, and what that costs, is the stage's
(models/versions.py). So the schemes differ in two words: a timetable and a strategy.

What the paper leaves open. The master is the first worker, or a node of its own that only feeds
the data. Labels travel with the activations to the worker that needs them. The pipeline runs empty
at the end of a round (an epoch, or `span` mini-batches), so that there is one model to test, and to
go on from; the states of the stages then travel to the master as Kind.EVALUATION. In micro-batches,
each one's error counts by its part of the samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any, Protocol

import torch
from torch import Tensor

from edgenet.errors import NodeError
from edgenet.links.protocol import Item, Kind, Link
from edgenet.models.memory import OutOfMemory, allocating
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.advice import advise, needs, shortage
from edgenet.schemes.bench import Batches, Bench, Role, Rounds, Scheme
from edgenet.schemes.cut import settle
from edgenet.schemes.layout import Layout, arrange
from edgenet.schemes.local import mean, require_finite
from edgenet.schemes.pipeline_options import PipelineOptions
from edgenet.schemes.timetable import BACKWARD, FORWARD, UPDATE, Action, urgent


class End(Protocol):
    """What a stage sends to and receives from on either side: a link, or an end of the pipe."""

    def send(self, *items: Item, kind: Kind = Kind.CONTROL) -> None:
        """Hand a message over."""

    def recv(self) -> Any:
        """The next message."""


def worker(before: End, after: End, stage: Stage, order: Sequence[Action], rounds: Rounds) -> None:
    """A stage between its two neighbours; `order` is its row of the timetable, for each round."""
    updates, waited_for = rounds.recall("updates", 0), urgent(order)
    for _ in rounds:
        for action in order:
            if action.verb == FORWARD:
                x, labels, part = before.recv()
                stage.use(updates + action.version, urgent=action.unit in waited_for)
                after.send(stage.forward(x), labels, part, kind=Kind.ACTIVATION)
            elif action.verb == BACKWARD:
                before.send(stage.backward(after.recv()), kind=Kind.GRADIENT)
            else:
                stage.step()
        updates += sum(action.verb == UPDATE for action in order)
        rounds.remember(updates=updates)
        loss, states = after.recv()
        before.send(loss, [*_state(stage, rounds), *states], kind=Kind.EVALUATION)


def master(worker: Link, source: Source, messages: int, rounds: Rounds) -> None:
    """A node that owns the data and holds no layer; `messages`: batches in a round."""
    for _ in rounds:
        for _ in range(messages):
            worker.send(*source.recv(), kind=Kind.DATA)
        source.send(*worker.recv(), kind=Kind.EVALUATION)


def _state(stage: Stage, rounds: Rounds) -> list[Tensor]:
    return stage.state() if rounds.due() else []


Batch = tuple[Tensor, Tensor, float]
"""(inputs, labels, part of the mini-batch): what travels first."""


class Source:
    """The end in front of the first stage: data come from here, and the round's report ends here.

    Args:
        epochs: the batches, epoch after epoch, without end.
        rounds: gets the report.
    """

    def __init__(self, epochs: Iterable[Batch], rounds: Rounds) -> None:
        self._batches, self._rounds = iter(epochs), rounds

    def recv(self) -> Batch:
        """The next batch."""
        return next(self._batches)

    def send(self, *items: Any, kind: Kind = Kind.CONTROL) -> None:
        """Nobody wants the error of the data; a report is for the rounds."""
        if kind is Kind.EVALUATION:
            loss, state = items
            self._rounds.report(state=state or None, loss=loss)


class Fed:
    """The first stage's end where another node feeds it: that one wants no errors."""

    def __init__(self, master: Link) -> None:
        self._master = master

    def recv(self) -> Any:
        """The next batch."""
        return self._master.recv()

    def send(self, *items: Item, kind: Kind = Kind.CONTROL) -> None:
        """Passes reports on."""
        if kind is Kind.EVALUATION:
            self._master.send(*items, kind=kind)


class Sink:
    """The end behind the last stage: it answers an activation with its error, and the end of a
    round, when nothing is left to answer, with (mean loss over the mini-batches, no states)."""

    def __init__(self) -> None:
        self._errors: deque[Tensor] = deque()
        self._loss, self._batches = 0.0, 0.0

    def send(self, *items: Any, kind: Kind = Kind.CONTROL) -> None:
        """The output for one batch, with its labels and its part of the mini-batch."""
        logits, labels, part = items
        loss, error = cross_entropy(logits, labels)
        self._errors.append(error * part)
        self._loss += require_finite(loss) * part
        self._batches += part

    def recv(self) -> Any:
        """The oldest error that nobody has had, or the report."""
        if self._errors:
            return self._errors.popleft()
        loss = self._loss / self._batches if self._batches else mean(())
        self._loss, self._batches = 0.0, 0.0
        return loss, []


def feed(batches: Batches, parts: Sequence[int], done: int) -> Iterator[Batch]:
    """Round after round, behind the `done` first; each mini-batch in as many parts as the timetable
    says."""
    for (x, y), count in zip(batches.stream(done * len(parts)), cycle(parts), strict=False):
        for inputs, labels in zip(
            torch.tensor_split(x, count), torch.tensor_split(y, count), strict=True
        ):
            yield inputs, labels, len(labels) / len(y)


def _play(bench: Bench) -> None:
    layout: Layout = bench.layout
    at, last = layout.chain.index(bench.name), len(layout.chain) - 1
    rounds = bench.rounds()
    if at == 0:
        source = Source(feed(bench.batches(), layout.parts, rounds.first - 1), rounds)
    if layout.feeds and at == 0:
        master(_link(bench, 1), source, sum(layout.parts), rounds)
        return
    number = at - layout.feeds
    before: End = source if at == 0 else _link(bench, at - 1)
    if layout.feeds and number == 0:
        before = Fed(_link(bench, 0))
    after: End = Sink() if at == last else _link(bench, at + 1)
    choices = layout.choices[number] if layout.choices else None
    layers = layout.layers(bench.layers(), number)
    stage = bench.stage(layers, first=number == 0, choices=choices)
    try:
        with allocating("the messages"):
            worker(before, after, stage, layout.table.stages[number], rounds)
    except OutOfMemory as error:
        said = shortage(layout, bench.name, str(error), bench.held())
        raise NodeError(said) from None


def _link(bench: Bench, at: int) -> Link:
    """The link to a neighbour in the chain."""
    layout: Layout = bench.layout
    return bench.links("worker" if at else "master")[layout.chain[at]]


CHAIN = (
    Role(name="master", play=_play, peers=("worker",), trains_on=True, chain=True),
    Role(name="worker", play=_play, peers=("master", "worker"), many=True, chain=True),
)

SUMMARIES = {
    "model-parallel": "layers over several workers, one mini-batch at a time (mcPipe, Example 1)",
    "gpipe": "micro-batches through the workers, all forwards before all backwards (Huang 2019)",
    "1f1b": "gpipe with one forward and one backward in turn: less memory, as exact",
    "pipedream": "mini-batches in flight, every weight version stored (mcPipe, Example 2)",
    "pipedream-2bw": "micro-batches in flight, no flush, two weight versions (Narayanan 2021)",
    "greedy": "mini-batches in flight, newest weights only: backwards do not fit their forwards",
    "mcpipe": "pipedream from one version and (error, activation) pairs (mcPipe, sec. IV-C)",
    "mcpipe-adaptive": "the same; per layer versions, pairs or low-rank products, what is least",
}

PIPELINES = tuple(
    Scheme(
        name=name,
        summary=summary,
        roles=CHAIN,
        options=PipelineOptions,
        settle=settle,
        arrange=arrange,
        advise=advise,
        needs=needs,
    )
    for name, summary in SUMMARIES.items()
)
