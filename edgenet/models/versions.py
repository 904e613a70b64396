"""Versions of one layer's weights: what is kept so that a backward meets its forward's weights.

Notation. w_t, v_t: weights and velocity after t updates; update t is made of the gradient g_t at
whatever version its mini-batch used. SGD with momentum mu, weight decay d and learning rate eta:

    v_t = mu v_(t-1) + g_t + d w_(t-1)          w_t = w_(t-1) - eta v_t                    (1)

(1) is linear in (w, v, g). So from any version o, a later version is

    w_t = alpha w_o + beta v_o + sum over o < j <= t of gamma_j g_j                        (2)

with coefficients that depend on mu, d, eta alone; and (1) can be turned round,

    w_(t-1) = w_t + eta v_t          v_(t-1) = (v_t - g_t - d w_(t-1)) / mu                (3)

(without momentum w_(t-1) = (w_t + eta g_t) / (1 - eta d)), so that an older version is of the form
(2) in the newest. g_j need not be kept, nor ever exist: for a linear layer it is delta_j^T a_j.

| class | keeps | paper |
| --- | --- | --- |
| `Newest` | the newest version; a backward takes what there is | greedy |
| `Stored` | every version that a backward still needs | PipeDream (Harlap et al. 2018) |
| `Doubled` | two, and the gradient of the mini-batch under way | PipeDream-2BW |
| `Recomputed` | the oldest needed, and pairs; newer ones by (2), in blocks of rows | mcPipe |
| `LowRank` | the newest, and pairs; an older product by (3), without the older weights | none |

`LowRank`: with w_o = x w_t + y v_t + sum of z_j g_j, what a backward needs is

    delta W_o = x delta W_t + y delta V_t + sum of z_j (delta delta_j^T) a_j               (4)

in which delta delta_j^T is of batch x batch numbers. A convolution is such a product, too: its
samples are the places of the output, its inputs the patches that the kernel sees there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgenet.models.motion import Motion
from edgenet.models.products import Pair, Product, Saved


@dataclass
class Held:
    """Bytes that a layer's versions hold now."""

    versions: int = 0
    """Materialised versions of the weights."""
    stash: int = 0
    """Pairs of updates that are not in every materialised version yet, and gathered gradients."""
    optimiser: int = 0
    """The velocity."""


@dataclass
class Layer:
    """What every strategy has: one layer, how it moves, and the pairs gathered for its update."""

    product: Product
    motion: Motion
    newest: int = 0
    """Number of the newest version."""
    gathered: list[Pair] = field(default_factory=list)
    """Pairs since the last update."""
    velocity: list[Tensor] = field(default_factory=list)
    """As the weights it belongs to; empty without momentum."""

    def __post_init__(self) -> None:
        if self.motion.momentum:
            self.velocity = [torch.zeros_like(t) for t in self.product.weights]

    def move(self, weights: Sequence[Tensor], pairs: Sequence[Pair]) -> None:
        """(1), in place."""
        eta, mu, decay = self.motion.lr, self.motion.momentum, self.motion.decay
        if not mu:
            for w in weights if decay else ():
                w.mul_(1 - eta * decay)
            self.product.add_gradients(weights, pairs, [-eta] * len(pairs))
            return
        for w, v in zip(weights, self.velocity, strict=True):
            v.mul_(mu)
            if decay:
                v.add_(w, alpha=decay)
        self.product.add_gradients(self.velocity, pairs, [1.0] * len(pairs))
        for w, v in zip(weights, self.velocity, strict=True):
            w.add_(v, alpha=-eta)

    def gather(self, pair: Pair) -> None:
        """Take the pair of one backward for the next update."""
        self.gathered.append(pair)

    def checkpoint(self) -> dict[str, Any]:
        """What `restore` needs of a layer without open forwards: its weights are the newest."""
        return {"newest": self.newest, "velocity": self.velocity}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become the layer that `saved` was taken of; its weights are restored already."""
        self.newest = saved["newest"]
        for mine, its in zip(self.velocity, saved["velocity"], strict=True):
            mine.copy_(its)

    def _held(self, versions: int, pairs: Sequence[Pair] = ()) -> Held:
        return Held(
            versions=versions,
            stash=size(t for pair in (*pairs, *self.gathered) for t in pair),
            optimiser=size(self.velocity),
        )


@dataclass
class Newest(Layer):
    """The newest version only."""

    def forward(self, x: Tensor, version: int) -> tuple[Tensor, Saved]:
        """With the newest."""
        return self.product.forward(x, self.product.weights)

    def backward(
        self, delta: Tensor, x: Tensor, saved: Saved, version: int, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """With the newest."""
        return self.product.backward(delta, x, self.product.weights, saved, wanted=wanted)

    def update(self, needed: Set[int]) -> None:
        """In place."""
        self.move(self.product.weights, self.gathered)
        self.gathered = []
        self.newest += 1

    def held(self) -> Held:
        """One version."""
        return self._held(size(self.product.weights))


@dataclass
class Stored(Layer):
    """Every version that is needed. The module's own tensors hold the newest."""

    older: dict[int, list[Tensor]] = field(default_factory=dict)
    """Version -> its tensors, without the newest."""

    def forward(self, x: Tensor, version: int) -> tuple[Tensor, Saved]:
        """With `version`."""
        return self.product.forward(x, self._at(version))

    def backward(
        self, delta: Tensor, x: Tensor, saved: Saved, version: int, *, wanted: bool
    ) -> tuple[Tensor, Pair]:
        """With `version`."""
        return self.product.backward(delta, x, self._at(version), saved, wanted=wanted)

    def update(self, needed: Set[int]) -> None:
        """Drop what nobody needs; copy the newest if somebody does."""
        self.older = {t: tensors for t, tensors in self.older.items() if t in needed}
        if self.newest in needed:
            self.older[self.newest] = [t.clone() for t in self.product.weights]
        self.move(self.product.weights, self.gathered)
        self.gathered = []
        self.newest += 1

    def checkpoint(self) -> dict[str, Any]:
        """The older versions, too."""
        return {**super().checkpoint(), "older": self.older}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """With the older versions."""
        super().restore(saved)
        self.older = {t: [tensor.clone() for tensor in its] for t, its in saved["older"].items()}

    def held(self) -> Held:
        """All versions."""
        older = sum(map(size, self.older.values()))
        return self._held(size(self.product.weights) + older)

    def _at(self, version: int) -> list[Tensor]:
        return self.product.weights if version == self.newest else self.older[version]


@dataclass
class Doubled(Stored):
    """Two versions; the gradient is summed up as it comes."""

    sums: list[Tensor] = field(default_factory=list)
    """The gradient so far, like the weights; empty before the first backward."""

    def update(self, needed: Set[int]) -> None:
        """The version before the newest stays, whether an open forward needs it or not: the next
        mini-batch does."""
        super().update({self.newest})

    def gather(self, pair: Pair) -> None:
        """Add its gradient to the sum."""
        if not self.sums:
            self.sums = [torch.zeros_like(t) for t in self.product.weights]
        self.product.add_gradients(self.sums, [pair], [1.0])

    def move(self, weights: Sequence[Tensor], pairs: Sequence[Pair]) -> None:
        """(1), in place, by the sum."""
        eta, mu, decay = self.motion.lr, self.motion.momentum, self.motion.decay
        for i, (w, g) in enumerate(zip(weights, self.sums, strict=True)):
            g.add_(w, alpha=decay)
            if mu:
                g = self.velocity[i].mul_(mu).add_(g)
            w.add_(g, alpha=-eta)
        self.sums = []

    def held(self) -> Held:
        """Two versions and the sum."""
        held = super().held()
        held.stash += size(self.sums)
        return held


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors; memory that several of them look at counts once."""
    seen: dict[int, int] = {}
    for t in tensors:
        seen[t.data_ptr()] = max(seen.get(t.data_ptr(), 0), t.nbytes)
    return sum(seen.values())
