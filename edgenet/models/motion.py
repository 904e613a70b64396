"""How SGD moves weights, as numbers: a later version, and an earlier one, from the one at hand.

The equations stand in versions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.topology.spec import Optimizer


@dataclass(frozen=True)
class Motion:
    """The numbers of (1)."""

    lr: float
    momentum: float = 0.0
    decay: float = 0.0

    @staticmethod
    def of(spec: Optimizer, lr: float) -> Motion:
        """Those of a topology's optimizer."""
        return Motion(lr, spec.momentum, spec.weight_decay)

    def later(self, count: int) -> tuple[float, float, list[float]]:
        """(alpha, beta, [gamma_j]) of (2) for the version `count` updates later."""
        w, v = [1.0, 0.0], [0.0, 1.0]
        for _ in range(count):
            v = [self.momentum * b + self.decay * a for a, b in zip(w, v, strict=True)] + [1.0]
            w = [a - self.lr * b for a, b in zip([*w, 0.0], v, strict=True)]
        return w[0], w[1], w[2:]

    def earlier(self, count: int) -> tuple[float, float, list[float]]:
        """(x, y, [z_j]) of (4) for the version `count` updates earlier; z_j oldest update first."""
        w, v = [1.0, 0.0], [0.0, 1.0]
        for _ in range(count):
            w, v = [*w, 0.0], [*v, 0.0]
            if self.momentum:
                w = [a + self.lr * b for a, b in zip(w, v, strict=True)]
                v = [(b - self.decay * a) / self.momentum for a, b in zip(w, v, strict=True)]
                v[-1] -= 1 / self.momentum
            else:
                w[-1] += self.lr
                w = [a / (1 - self.lr * self.decay) for a in w]
        return w[0], w[1], w[:1:-1]
