"""The rounds of a run as a node goes through them: metering, testing, saving at their borders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

import torch
from torch import Tensor

from edgenet.errors import CannotWrite
from edgenet.meters import Journal
from edgenet.meters.checkpoint_file import Sink
from edgenet.node.keeping import Keeping

State = Sequence[Tensor]
Infer = Callable[[Tensor], Tensor]
"""Indices of test samples -> their logits."""


class Tester(Protocol):
    """Tests models."""

    def __call__(self, models: Sequence[State], infer: Infer | None) -> tuple[float, float]:
        """`models`, the test set being dealt out among them, or what `infer` finds out; returns
        (mean loss, accuracy in [0, 1])."""


OWN_MODELS = "models.pt"
"""The parts that clients keep to themselves, at the end of the run."""


class ByteMeter(Protocol):
    """What counts the bytes of a node's links."""

    def write(self, journal: Journal) -> None:
        """Append `bytes` events for everything counted since the last call."""


class Keeper:
    """Keeps the newest global model as `model.pt`, a state_dict, replaced in one move.

    A round that comes within ten times the last save's own duration is not saved, so that saving
    costs at most a tenth of the run; the last round always is.

    Args:
        path: the file, or None to keep nothing.
        names: state_dict keys, in the order of the states.
    """

    def __init__(self, path: Path | None, names: Sequence[str]) -> None:
        self._path, self._names = path, tuple(names)
        self._next = 0.0

    def keep(self, state: State, *, last: bool, names: Sequence[str] | None = None) -> None:
        """Write `state` to the file, unless the last save was a moment ago.

        Raises:
            CannotWrite: there is no room for it.
        """
        start = time.monotonic()
        if self._path is None or (start < self._next and not last):
            return
        part = self._path.with_suffix(".part")
        _save(dict(zip(names or self._names, state, strict=True)), part)
        os.replace(part, self._path)
        end = time.monotonic()
        self._next = end + 10 * (end - start)

    def keep_own(
        self, state: State, models: Sequence[State], names: Sequence[str] | None = None
    ) -> None:
        """Write what each of `models` has in place of a part of `state`, as `models.pt` beside the
        file: a list of state_dicts, in the order of the clients."""
        if self._path is None:
            return
        own = [
            {
                name: mine.clone()  # else the whole message that it came in would be saved
                for name, mine, common in zip(names or self._names, model, state, strict=True)
                if mine is not common
            }
            for model in models
        ]
        _save(own, self._path.with_name(OWN_MODELS))


def _save(value: object, path: Path) -> None:
    try:
        with path.open("wb") as file, (sink := Sink(file)):
            torch.save(value, cast("IO[bytes]", sink))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CannotWrite(path, error.strerror) from None


class Entered:
    """A round, as a context; `done` is called at its end unless an error ended it."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def __enter__(self) -> None:
        """It has begun already."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._done()


class NodeRounds:
    """`schemes.bench.Rounds` of one node.

    Args:
        evaluate_every: test the model every so many rounds and after the last; 0 = never.
        journal: where the figures go; its `round` is set here.
        meter: the byte counters of the node's links.
        tester: tests models; called in due rounds only.
        keeper: keeps the newest global model.
        settle: waits for the node's device: a round is over when its work is done.
        keeping: the node's checkpoints; told of every border. It knows which rounds there are.
    """

    def __init__(
        self,
        *,
        evaluate_every: int,
        journal: Journal,
        meter: ByteMeter,
        tester: Tester,
        keeper: Keeper,
        keeping: Keeping,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._total, self._every = keeping.total, evaluate_every
        self._journal, self._meter = journal, meter
        self._tester, self._keeper, self._settle = tester, keeper, settle
        self._keeping = keeping
        self._within: int | None = None

    def __len__(self) -> int:
        return self._total

    @property
    def first(self) -> int:
        """The round that the run begins with."""
        return self._keeping.first

    def __iter__(self) -> Iterator[int]:
        for number in range(self.first, self._total + 1):
            with self.enter(number):
                yield number
        self.leave()

    def enter(self, number: int) -> Entered:
        """Set the current round; the bytes of the one before are written down."""
        self._end()
        self.leave()
        self._journal.round = number
        self._within = number
        self._keeping.begin(number)
        return Entered(self._end)

    def recall(self, name: str, default: Any = None) -> Any:
        """What was remembered under this name."""
        return self._keeping.recall(name, default)

    def remember(self, **values: Any) -> None:
        """Keep these over the rounds."""
        self._keeping.remember(values)

    def _end(self) -> None:
        """The round that the node is in is done."""
        if self._within is not None:
            self._keeping.end(self._within)
            self._within = None

    def leave(self) -> None:
        """Wait for the device; write down the bytes counted so far."""
        self._settle()
        self._meter.write(self._journal)

    def due(self) -> bool:
        """Whether the global model is wanted at the end of the current round."""
        number = self._journal.round
        return number == self._total or (self._every > 0 and number % self._every == 0)

    def report(
        self,
        *,
        state: State | None = None,
        models: Sequence[State] = (),
        names: Sequence[str] | None = None,
        infer: Infer | None = None,
        **figures: Any,
    ) -> None:
        """Record the round: its figures, the global model, and its accuracy when due."""
        if state is not None:
            with self._journal.span("evaluate", "keep"):
                last = self._journal.round == self._total
                self._keeper.keep(state, last=last, names=names)
                if last and models:
                    self._keeper.keep_own(state, models, names)
            if self.due() and self._every > 0:
                with self._journal.span("evaluate", "test"):
                    loss, accuracy = self._tester(models or [state], infer)
                figures |= {"test_loss": loss, "accuracy": accuracy}
        self.leave()  # so that whoever sees the round's event finds its bytes in front of it
        self._journal.event("round", **figures)
