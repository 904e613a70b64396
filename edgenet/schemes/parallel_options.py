"""The settings of schemes with several sources, and who takes part when."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class FplOptions:
    """FPL's own settings."""

    junction: str = ""
    """The layer that J stands in front of; '' = the last (J->F2, the paper's most accurate)."""
    junction_relu: bool = True
    """ReLU behind J."""
    merge: str = "learned"
    """'learned': a junction; 'mean': the mean of the branches' outputs instead, nothing to learn
    (with one source: no junction at all)."""
    spread: tuple[str, ...] = ()
    """The layers that the nodes placed as `stage` begin with, one for each; [] = pieces of equal
    length, and stages for which none is left idle; 'none' = all on the server."""
    joins: Mapping[str, int] = field(default_factory=dict)
    """{source: the epoch with which it joins (again)}; before it, or since it left, it does not
    take part."""
    leaves: Mapping[str, int] = field(default_factory=dict)
    """{source: the first epoch without it}."""

    def __post_init__(self) -> None:
        if self.merge not in ("learned", "mean"):
            raise ValueError(f"merge is '{self.merge}'; the choices are learned, mean")

    def takes_part(self, source: str, epoch: int) -> bool:
        """Whether `source` is to take part in an epoch (1, 2, ...)."""
        join, leave = self.joins.get(source, 0), self.leaves.get(source, math.inf)
        if join < leave:
            return join <= epoch < leave
        return epoch < leave or epoch >= join  # it leaves first, and comes back


@dataclass(frozen=True, kw_only=True)
class VerticalOptions:
    """sl-vertical's own settings."""

    spread: tuple[str, ...] = ()
    """As for fpl."""


def check_times(own: FplOptions, sources: Collection[str], epochs: int) -> None:
    """Make sure that joins and leaves name sources, that who is to join does so while there are
    `epochs`, and that some source is left in every one.

    Raises:
        ValueError: they do not.
    """
    for key, times in (("joins", own.joins), ("leaves", own.leaves)):
        for name, epoch in times.items():
            if name not in sources or epoch < 1:
                raise ValueError(
                    f"{key} has {name}: {epoch}; it maps sources ({', '.join(sources)}) to epochs "
                    "from 1 on"
                )
            if own.joins.get(name) == own.leaves.get(name):
                raise ValueError(f"{key} has {name}: {epoch}, and so has the other; drop both")
    for name, epoch in own.joins.items():
        if epoch > epochs:
            raise ValueError(
                f"joins has {name}: {epoch}, but epoch {epochs} is the last, so it would never "
                "take part; let it join earlier, or raise train.epochs"
            )
    for epoch in {1, *own.joins.values(), *own.leaves.values()}:
        if not any(own.takes_part(name, epoch) for name in sources):
            raise ValueError(f"leaves lets no source take part in epoch {epoch}")
