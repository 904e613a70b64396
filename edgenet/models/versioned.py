"""A stage for pipelines with several weight versions under way, its memory counted to the byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edgenet.errors import NodeError
from edgenet.meters.journal import Journal
from edgenet.models.answer import answer
from edgenet.models.kept import copy_named
from edgenet.models.memory import Kept, Memory
from edgenet.models.motion import Motion
from edgenet.models.pairs import Recomputed
from edgenet.models.products import Product, product_of
from edgenet.models.sizes import leaves
from edgenet.models.strategies import Choice, Versions, versions_of
from edgenet.models.versions import size


class _Step(NamedTuple):
    """A layer with weights, or a run of layers without."""

    versions: Versions | None
    glue: nn.Module
    wants_error: bool


class _Open(NamedTuple):
    """A forward that waits for its backward."""

    version: int
    kept: list[tuple[Tensor, ...]]
    """For each step (input, ...): what the product saved, or the output with its graph."""
    held_bytes: int
    shape: torch.Size


class VersionedStage:
    """Implements `Stage`, but that weights may change between a forward and its backward.

    A forward uses the newest version (or the one that `use` names), the backward that answers it
    the same one. Plain SGD, with or without momentum and weight decay.

    Args:
        layers: a chain of layers; their parameters hold one version, which one is the strategy's.
        motion: the optimizer's numbers.
        choices: a strategy for each layer with weights, in order.
        journal: gets a `memory` event after each verb.
        needs_input_error: as of `LocalStage`.
    """

    def __init__(
        self,
        layers: nn.Module,
        motion: Motion,
        choices: Sequence[Choice],
        *,
        journal: Journal,
        needs_input_error: bool = True,
    ) -> None:
        self.layers, self._journal = layers.train(), journal
        self._names = tuple(layers.state_dict())
        self._state = list(layers.state_dict().values())
        self._scratch: list[Tensor] = []
        self._wants = needs_input_error
        self._steps = self._take_apart(motion, choices)
        self._open: deque[_Open] = deque()
        self.newest = 0
        self._use: int | None = None
        self._held: dict[torch.Size, int] = {}
        self.peak = self.memory()
        self.peak_bytes = self.peak.total

    def _take_apart(self, motion: Motion, choices: Sequence[Choice]) -> list[_Step]:
        steps, glue, wants, left = [], list[nn.Module](), self._wants, list(choices)

        def close() -> None:
            if glue:
                steps.append(_Step(None, nn.Sequential(*glue), wants))
                glue.clear()

        for _, module in leaves(self.layers):
            product: Product | None = product_of(module)
            if product is None:
                glue.append(module)
                continue
            close()
            versions = versions_of(product, left.pop(0).strategy, motion, self._scratch)
            steps.append(_Step(versions, module, wants))
            wants = True
        close()
        return steps

    @property
    def names(self) -> tuple[str, ...]:
        """state_dict keys, in the order of `state`."""
        return self._names

    @property
    def open_forwards(self) -> int:
        """Forwards that wait for their backward."""
        return len(self._open)

    def use(self, version: int, *, urgent: bool = False) -> None:
        """The version for the next forward (else it is the newest)."""
        self._use = version

    def forward(self, x: Tensor) -> Tensor:
        """Activation for x, detached. x is kept for `backward`: leave its contents alone."""
        version = self.newest if self._use is None else self._use
        self._use, x = None, x.detach()
        shape, kept = x.shape, []
        held = None if shape in self._held else Kept(self._state)
        for step in self._steps:
            if step.versions is None:
                x, entry = self._pass(step, x, held)
            else:
                x, entry = self._compute(step.versions, x, version)
            if held is not None:
                held.note(*entry)
            kept.append(entry)
        if held is not None:
            self._held[shape] = held.bytes
        self._open.append(_Open(version, kept, self._held[shape], x.shape))
        self._record()
        return x

    def _compute(
        self, versions: Versions, x: Tensor, version: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        again = isinstance(versions, Recomputed) and versions.base != version
        with torch.no_grad():
            if not again:
                y, saved = versions.forward(x, version)
            else:
                with self._journal.span("recompute", "weights", version=version):
                    y, saved = versions.forward(x, version)
        return y, (x, *saved)

    def _pass(self, step: _Step, x: Tensor, held: Kept | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Layers without weights, with autograd's own record; none if nobody wants the error."""
        if not step.wants_error:
            with torch.no_grad():
                return step.glue(x), ()
        leaf = x.detach().requires_grad_()
        if held is None:  # counted before: hooks cost time
            y = step.glue(leaf)
        else:
            with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda t: t):
                y = step.glue(leaf)
        return y.detach(), (leaf, y)

    def backward(self, error: Tensor) -> Tensor:
        """Gathers what `error` changes, with the version that the oldest open forward used;
        returns the error of its input (empty if that is not wanted).

        Raises:
            NodeError: no forward is open, or `error` has another shape than its result.
        """
        if not self._open:
            raise NodeError("backward without an open forward: call forward first")
        entry = self._open.popleft()
        if error.shape != entry.shape:
            raise NodeError(
                f"backward was given an error of {tuple(error.shape)}, but the oldest open forward "
                f"returned {tuple(entry.shape)}; answer the forwards in their order"
            )
        for step, kept in zip(reversed(self._steps), reversed(entry.kept), strict=True):
            if step.versions is not None:
                with torch.no_grad():
                    error, pair = step.versions.backward(
                        error, kept[0], kept[1:], entry.version, wanted=step.wants_error
                    )
                step.versions.gather(pair)
            elif step.wants_error:
                leaf, y = kept
                answer(y, error)
                assert leaf.grad is not None
                error = leaf.grad
        self._record(entry.held_bytes)
        return error

    def step(self) -> None:
        """Make the next version by what was gathered since the last."""
        needed = {entry.version for entry in self._open}
        with torch.no_grad():
            for step in self._steps:
                if step.versions is not None:
                    step.versions.update(needed)
        self.newest += 1
        self._record()

    def memory(self, more: int = 0) -> Memory:
        """What is held now; `more`: of a forward that is just being answered."""
        layers = [step.versions.held() for step in self._steps if step.versions is not None]
        buffers = size(self._state) - sum(
            size(step.versions.product.weights) for step in self._steps if step.versions
        )
        return Memory(
            versions=sum(each.versions for each in layers) + buffers,
            scratch=size(self._scratch),
            stash=sum(each.stash for each in layers),
            saved=sum(entry.held_bytes for entry in self._open) + more,
            optimiser=sum(each.optimiser for each in layers),
            live=len({self.newest, *(entry.version for entry in self._open)}),
            open=len(self._open),
        )

    def _record(self, more: int = 0) -> None:
        now = self.memory(more)
        self.peak |= now
        self.peak_bytes = max(self.peak_bytes, now.total)
        self._journal.event("memory", **asdict(now))

    @property
    def weight_bytes(self) -> int:
        """The most that versions, buffers and scratch took."""
        return self.peak.versions + self.peak.scratch

    @property
    def peak_stash_bytes(self) -> int:
        """The most that pairs and open forwards took."""
        return self.peak.stash + self.peak.saved

    def infer(self, x: Tensor) -> Tensor:
        """Evaluation-mode output with the weights of `state`."""
        self._drained("infer")
        self.layers.eval()
        try:
            with torch.no_grad():
                return self.layers(x)  # type: ignore[no-any-return]
        finally:
            self.layers.train()

    def state(self) -> list[Tensor]:
        """Parameters and buffers, live. Only when no forward is open: else there is more than one
        version."""
        self._drained("state")
        return list(self._state)

    def load(self, state: Sequence[Tensor]) -> None:
        """Copy `state` into the parameters and buffers; the velocity stays."""
        self._drained("load")
        for mine, given in zip(self._state, state, strict=True):
            mine.copy_(given)

    def checkpoint(self) -> dict[str, Any]:
        """What `restore` needs: live tensors. Only when no forward is open."""
        self._drained("checkpoint")
        layers = [step.versions.checkpoint() for step in self._steps if step.versions is not None]
        state = dict(zip(self._names, self._state, strict=True))
        return {"state": state, "layers": layers, "newest": self.newest}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become the stage that `saved` was taken of. Raises NodeError if it does not fit."""
        copy_named(saved["state"], dict(zip(self._names, self._state, strict=True)))
        versions = [step.versions for step in self._steps if step.versions is not None]
        for layer, its in zip(versions, saved["layers"], strict=True):
            layer.restore(its)
        self.newest = saved["newest"]

    def held(self) -> str:
        """What is held now, for people."""
        return self.memory().sentence()

    def forget(self) -> None:
        """Not for pipelines: others hold what these forwards led to."""
        raise NodeError("a stage with several versions cannot give a batch up")

    def gradients(self) -> list[Tensor]:
        """Not for pipelines: gradients exist as pairs only."""
        raise NodeError("a stage with several versions has no gradients to change")

    def renew(self) -> None:
        """Not for pipelines."""
        raise NodeError("a stage with several versions cannot gain or lose parameters")

    def pull(self, anchor: Sequence[Tensor], mu: float) -> None:
        """Not for pipelines."""
        raise NodeError("a stage with several versions has no proximal term")

    def _drained(self, verb: str) -> None:
        if self._open:
            raise NodeError(f"{verb} with {len(self._open)} open forwards: answer them first")
