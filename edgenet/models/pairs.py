"""Weight versions from (error, activation) pairs: mcPipe's, and a cheaper one by low rank.

The notation and the equations stand in versions.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgenet.models.products import LOW_RANK, Pair, Saved
from edgenet.models.versions import Held, Layer, size

SCRATCH_BYTES = 4 * 1024 * 1024
"""Of the one block of rows that a newer version is computed in: it stays in a core's cache, and is
a sixteenth of a 4096 x 4096 layer."""


def block_rows(weight: Tensor) -> int:
    """How many rows of a layer are computed at once; all of a normalisation's."""
    if weight.dim() == 1:
        return len(weight)
    return min(len(weight), max(1, SCRATCH_BYTES // max(1, weight[0].nbytes)))


@dataclass
class Recomputed(Layer):
    """The oldest version that is needed, in the module's own tensors, and pairs."""

    pending: deque[list[Pair]] = field(default_factory=deque)
    """The pairs of each update behind the materialised version, oldest first."""
    scratch: list[Tensor] = field(default_factory=list)
    """A stage's one block (empty until it is needed); shared by its layers."""

    @property
    def base(self) -> int:
        """The materialised version."""
        return self.newest - len(self.pending)

    def forward(self, x: Tensor, version: int) -> tuple[Tensor, Saved]:
        """A newer version is computed by (2), block by block of rows, used, and dropped."""
        ahead = version - self.base
        if not ahead:
            return self.product.forward(x, self.product.weights)
        alpha, beta, gammas = self.motion.later(ahead)
        pairs, scales = [], []
        for many, gamma in zip(self.pending, gammas, strict=False):
            pairs += many
            scales += [gamma] * len(many)
        parts: list[Tensor] = []
        saved: Saved = ()
        for rows in self._blocks():
            block = self._block(rows, alpha, beta)
            self.product.add_gradients(block, pairs, scales, rows)
            part, saved = self.product.forward(x, block)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1), saved

    def backward(
        self, delta: Tensor, x: Tensor, saved: Saved, version: int, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """Answers the oldest open forward: the materialised version is the one it used."""
        assert version == self.base
        return self.product.backward(delta, x, self.product.weights, saved, wanted=wanted)

    def update(self, needed: Set[int]) -> None:
        """Move on as far as backwards to come allow; keep the new pairs."""
        oldest = min(needed, default=self.newest + 1)
        self._advance(oldest)
        self.pending.append(self.gathered)
        self.gathered = []
        self.newest += 1
        self._advance(oldest)

    def held(self) -> Held:
        """One version, and pairs."""
        pairs = [pair for many in self.pending for pair in many]
        return self._held(size(self.product.weights), pairs)

    def _advance(self, oldest: int) -> None:
        while self.pending and self.base < oldest:
            self.move(self.product.weights, self.pending.popleft())

    def _blocks(self) -> list[slice]:
        """All rows, in blocks that fit into the scratch."""
        rows, step = len(self.product.weights[0]), block_rows(self.product.weights[0])
        return [slice(at, min(rows, at + step)) for at in range(0, rows, step)]

    def _block(self, rows: slice, alpha: float, beta: float) -> list[Tensor]:
        """alpha w + beta v of these rows, in the scratch."""
        mine = [t[rows] for t in self.product.weights]
        count = sum(t.numel() for t in mine)
        if not self.scratch or self.scratch[0].numel() < count:
            self.scratch.clear()  # never two at once
            self.scratch.append(mine[0].new_empty(count))
        flat, found = self.scratch[0], []
        for i, t in enumerate(mine):
            block, flat = flat[: t.numel()].view_as(t), flat[t.numel() :]
            torch.mul(t, alpha, out=block)
            if self.velocity and beta:
                block.add_(self.velocity[i][rows], alpha=beta)
            found.append(block)
        return found


@dataclass
class LowRank(Layer):
    """The newest version, and pairs; for linear layers and convolutions."""

    pending: deque[list[Pair]] = field(default_factory=deque)
    """The pairs of the newest updates that some backward's version does not have, oldest first."""

    def forward(self, x: Tensor, version: int) -> tuple[Tensor, Saved]:
        """With the newest."""
        assert version == self.newest
        return self.product.forward(x, self.product.weights)

    def backward(
        self, delta: Tensor, x: Tensor, saved: Saved, version: int, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """(4)."""
        product, behind = self.product, self.newest - version
        assert isinstance(product, LOW_RANK)
        error, pair = product.backward(delta, x, product.weights, saved, wanted=wanted)
        if not wanted or not behind:
            return error, pair
        now, past, rest = self.motion.earlier(behind)
        if now != 1:
            error.mul_(now)
        if past:
            moved, _ = product.backward(delta, x, self.velocity, saved, wanted=True)
            error.add_(moved, alpha=past)
        recent = list(self.pending)[len(self.pending) - behind :]
        pairs = [each for many in recent for each in many]
        scales = [scale for many, scale in zip(recent, rest, strict=True) for _ in many]
        product.add_through(error, delta, pairs, scales)
        return error, pair

    def update(self, needed: Set[int]) -> None:
        """In place; keep the pairs that a version to come back to does not have."""
        oldest = min(needed, default=self.newest + 1)
        self._drop(oldest)
        self.move(self.product.weights, self.gathered)
        self.pending.append(self.gathered)
        self.gathered = []
        self.newest += 1
        self._drop(oldest)

    def held(self) -> Held:
        """One version, and pairs."""
        pairs = [pair for many in self.pending for pair in many]
        return self._held(size(self.product.weights), pairs)

    def _drop(self, oldest: int) -> None:
        while self.pending and self.newest - len(self.pending) < oldest:
            self.pending.popleft()
