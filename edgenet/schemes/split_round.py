"""What a round of split learning is: the scheme's choices, who takes part, and what is noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edgenet.schemes.local import mean


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells the family's schemes apart; the defaults are those of `psl`."""

    alpha: float = 0.0
    """SplitLr: the server learns |C|^alpha times as fast as the clients (Eq. 13)."""
    phi: float = 0.0
    """SplitAvg: fraction of the clients that is active in a step (Eq. 15)."""
    phases: str = "always"
    """SplitAvg: in which rounds (`averaging.in_phase`)."""
    sync: str = "never"
    """When heads are averaged: 'never', 'epoch' (once a round), or 'batch'."""
    in_turn: bool = False
    """One client after the other, instead of all at once."""

    @property
    def common_head(self) -> bool:
        """Whether every round starts from one head, which comes from the server."""
        return self.sync != "never"


class Share(NamedTuple):
    """What a client says of itself when it joins."""

    samples: int
    """|D_i|."""
    steps: int
    """Batches in a round."""


@dataclass(kw_only=True)
class Round:
    """What the server needs to know for one round, and what it notes down."""

    number: int
    variant: Variant
    phi: float
    """Of this round: 0 outside its phase."""
    seed: int
    """Of the draws of active clients."""
    shares: Mapping[str, Share]
    losses: list[float] = field(default_factory=list)
    """Of every step."""
    took_part: set[str] = field(default_factory=set)
    averaged: list[tuple[str, ...]] = field(default_factory=list)
    """C_a of every step."""
    missed: dict[str, int] = field(default_factory=dict)
    """Late client -> its steps that were dropped."""

    def figures(self) -> dict[str, Any]:
        """For `Rounds.report`."""
        found = {"loss": mean(self.losses), "active": sorted(self.took_part)}
        found |= {"averaged": self.averaged} if self.phi else {}
        return found | ({"missed": self.missed} if self.missed else {})
