"""A node's checkpoints: what its role was handed out, saved at the borders of rounds.

What the bench hands out (stages, batches, orders, whole models) is registered here in the order in
which the role asks for it; a run that is resumed hands out the same things, and each is restored on
the spot. Beside them are kept torch's generator and what the scheme itself remembers. So a resumed
run computes what an uninterrupted one would have computed, to the bit, on one machine.

A checkpoint is copied by the node between two rounds, and written by a thread of its own.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast

import torch
from torch import Tensor

from edgenet.errors import CannotWrite, NodeError
from edgenet.meters import Journal
from edgenet.meters.checkpoint_file import Hashed
from edgenet.meters.checkpoints import Shelf
from edgenet.node.plan import Plan
from edgenet.node.schedule import Schedule

_PLAIN = (bool, int, float, str, bytes, type(None))
_LAST_S = 10.0
"""How long a node that ends waits for its last checkpoint to be on the disk."""


class Part(Protocol):
    """Something with a state."""

    def checkpoint(self) -> dict[str, Any]:
        """Live tensors and plain values."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what `saved` was taken of."""


class Keeping:
    """The checkpoints of one node of one run.

    Args:
        plan: the run.
        node: whose.
        run_dir: where they go; None keeps nothing.
        resume: the round to go on after; 0: from the start.
        journal: gets a `checkpoint` event for each.
    """

    def __init__(
        self, plan: Plan, node: str, run_dir: Path | None, resume: int, journal: Journal
    ) -> None:
        self._node, self._digest, self._journal = node, plan.digest.hex(), journal
        self._parts: list[Part] = []
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._within = False  # a round
        self._through = self._saved = 0  # rounds
        self._writer: threading.Thread | None = None
        self._broken = False
        self._earlier: dict[str, Any] | None = None
        self.first = resume + 1
        """The round that the node begins with."""
        self.total = plan.topology.train.rounds
        """The last round."""
        self._shelf: Shelf | None = None
        if run_dir is not None and (resume or plan.topology.faults.checkpoint != 0):
            self._shelf = Shelf(run_dir, node)
            self._schedule = Schedule.of(plan, node, run_dir)
            if resume:
                self._earlier = self._load(resume, strict=plan.seat(node).essential)
            self._shelf.forget(resume)

    def register(self, part: Part) -> None:
        """One more thing that the role was given; restored, if the run is resumed.

        Raises:
            NodeError: the checkpoint does not fit.
        """
        number = len(self._parts)
        self._parts.append(part)
        if self._earlier is not None:
            try:
                part.restore(self._earlier["parts"][number])
            except (IndexError, KeyError, ValueError) as error:
                raise NodeError(
                    f"{self._node}: the checkpoint does not fit what the role is given "
                    f"({error!r}); was the scheme changed?"
                ) from error

    def recall(self, name: str, default: Any) -> Any:
        """What was last remembered under a name, also by a run that is resumed."""
        return self._values.get(name, default)

    def remember(self, values: Mapping[str, Any]) -> None:
        """Keep these. Raises NodeError unless they are tensors and plain values."""
        for name, value in values.items():
            if not _plain(value):
                raise NodeError(
                    f"{self._node}: rounds.remember({name}=...) was given a "
                    f"{type(value).__name__}; it takes tensors, numbers, strings, and lists, "
                    "tuples and dicts of them"
                )
        self._values |= values

    def begin(self, number: int) -> None:
        """A round begins. Raises CannotWrite when that cannot be written down."""
        if self._shelf is None:
            return
        with self._lock:
            self._within, self._through = True, number
            if self._earlier is not None and "generator" in self._earlier:
                torch.set_rng_state(self._earlier["generator"])
            self._earlier = None
            self._schedule.began(self._nbytes)
            try:
                self._shelf.begin(number)
            except OSError as error:  # what is saved could not be told from what is outdated
                raise CannotWrite(self._shelf.folder, error.strerror) from None

    def end(self, number: int) -> None:
        """A round is done: everything is as the next one will find it."""
        if self._shelf is None:
            return
        if self._schedule.due(number):
            self._save(number)
        self._within = False
        try:
            self._schedule.border(number)
        except OSError as error:
            self._give_up(str(error))

    def idle(self) -> None:
        """Called now and then from another thread. A node that is left out of rounds in which
        others save would not be saved: it is, when the others are ahead of it."""
        if self._shelf is None or self._within or self._through == self._saved:
            return
        if self._schedule.passed(self._through):
            with self._lock:
                if not self._within and self._through > self._saved:
                    self._save(self._through)

    def close(self, *, done: bool) -> None:
        """The role has ended: wait for what is being written. One that is `done` before the run
        is (it only had to send its data) is saved as it is."""
        if self._shelf is not None and done and self._through > self._saved:
            self._save_early()
        if self._writer is not None:
            self._writer.join(_LAST_S)

    def _save_early(self) -> None:
        if self._schedule.early(self._through):
            self._save(self._through)

    def _save(self, number: int) -> None:
        if self._broken:
            return
        if self._writer is not None:
            self._writer.join()
        start = time.thread_time()
        with self._journal.span("evaluate", "checkpoint"):
            try:
                value = self._value(number)
            except NodeError as error:
                self._give_up(str(error))
                return
        self._saved, copied_s = number, time.thread_time() - start
        work = (number, value, copied_s)
        self._writer = threading.Thread(
            target=self._write, args=work, name="checkpoint", daemon=True
        )
        self._writer.start()

    def _nbytes(self) -> int:
        """What saving would copy."""
        found = _tensors([part.checkpoint() for part in self._parts])
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in found}.values())

    def _value(self, number: int) -> dict[str, Any]:
        copies: dict[tuple[Any, ...], Tensor] = {}
        whole = {
            "node": self._node,
            "round": number,
            "digest": self._digest,
            "parts": [part.checkpoint() for part in self._parts],
            "values": self._values,
            "generator": torch.get_rng_state(),
        }
        value: dict[str, Any] = _copied(whole, copies)
        return value

    def _write(self, number: int, value: dict[str, Any], copied_s: float) -> None:
        assert self._shelf is not None
        start, wall = time.thread_time(), time.monotonic()

        def fill(file: Hashed) -> float:
            torch.save(value, cast("IO[bytes]", file))
            return copied_s + time.thread_time() - start

        try:
            size = self._shelf.write(number, fill)
        except (OSError, RuntimeError) as error:
            self._give_up(getattr(error, "strerror", None) or str(error))
            return
        took_s = round(time.monotonic() - wall, 6)
        self._journal.event("checkpoint", r=number, bytes=size, write_s=took_s)

    def _give_up(self, why: str) -> None:
        if self._broken:
            return
        self._broken = True
        text = f"no more checkpoints: {why}"
        self._journal.event("log", level="warning", text=text)

    def _load(self, resume: int, *, strict: bool) -> dict[str, Any] | None:
        """What this node holds of the border behind `resume`; None: nothing, it starts anew.

        Raises:
            NodeError: that is not how it was, and it has to be (`strict`).
        """
        assert self._shelf is not None
        last = self._shelf.last(resume)
        for number in self._shelf.rounds():
            if number > last:
                continue
            wrong = self._shelf.wrong(number)
            if wrong is not None:
                text = f"{self._shelf.path(number)} {wrong}; it is passed over"
                self._journal.event("log", level="warning", text=text)
                continue
            content = io.BytesIO(self._shelf.content(number))
            found: dict[str, Any] = torch.load(content, weights_only=True)
            if (found["node"], found["digest"]) != (self._node, self._digest):
                raise NodeError(f"{self._shelf.path(number)} is of another node or topology")
            self._through = self._saved = number
            self._values = found["values"]
            break
        else:
            found = {}
        if strict and self._through != last:
            raise NodeError(
                f"{self._node} has no sound checkpoint of round {last}, which going on after round "
                f"{resume} takes"
            )
        return found or None


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, _PLAIN) and _plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_plain, value))
    return isinstance(value, Tensor) or type(value) in _PLAIN


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _copied(value: Any, copies: dict[tuple[Any, ...], Tensor]) -> Any:
    """A copy of it all; tensors that look at the same numbers share theirs."""
    if isinstance(value, Tensor):
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if not value.numel() or key not in copies:
            copies[key] = value.detach().clone(memory_format=torch.contiguous_format)
        return copies[key]
    if isinstance(value, dict):
        return {key: _copied(item, copies) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item, copies) for item in value)
    return value
