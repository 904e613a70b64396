"""What is known of one kind of machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

ESTIMABLE = ("matrix_flops", "training_flops", "idle_w", "load_w")
"""Fields that may be derived or estimated where nobody has published a measurement."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One kind of machine."""

    name: str
    """As written in `device:`."""
    description: str
    """Board or processor, clock, and what stands beside it."""
    cores: int | None
    """CPU cores; None = those of this machine."""
    memory_bytes: int | None
    """RAM; None = that of this machine."""
    matrix_flops: float | None
    """Single-precision FLOP/s of a large matrix product on all cores; None = as this machine."""
    training_flops: float | None
    """Single-precision FLOP/s sustained while training a small model (forward and backward, one
    process); None = as fast as this machine, no slow-down."""
    idle_w: float | None
    """Power when idle, in watts; None = not known."""
    load_w: float | None
    """Power with all cores busy, in watts; None = not known."""
    source: str
    """Where speed and power come from; the keys in brackets stand in `edgenet.devices.boards`."""
    derived: tuple[str, ...] = ()
    """Which of the numbers were not measured on this very kind of machine, but derived from
    another measurement or estimated; `source` says how."""

    def __post_init__(self) -> None:
        for field in ("cores", "memory_bytes", *ESTIMABLE):
            value = getattr(self, field)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"device '{self.name}' has {field} {value}; it must be above 0")
        if self.idle_w is not None and self.load_w is not None and self.idle_w > self.load_w:
            raise ValueError(
                f"device '{self.name}' draws {self.idle_w} W idle and only {self.load_w} W busy"
            )
        unknown = set(self.derived) - set(ESTIMABLE)
        if unknown:
            raise ValueError(
                f"device '{self.name}' calls {', '.join(sorted(unknown))} derived; that can only "
                f"be said of {', '.join(ESTIMABLE)}"
            )

    def called(self, name: str) -> Device:
        """The same under another name."""
        return replace(self, name=name)

    @property
    def active_w_per_core(self) -> float | None:
        """Watts that one busy core adds to the idle power; None = not known."""
        if self.idle_w is None or self.load_w is None or self.cores is None:
            return None
        return (self.load_w - self.idle_w) / self.cores
