"""The choices that tell the schemes of split learning apart, and what a user may set of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgenet.schemes.averaging import check_shares, in_phase


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


@dataclass(frozen=True, kw_only=True)
class SplitLr:
    """Settings of `slr`, and half of those of `sglr`."""

    alpha: float = 0.5
    """eta_s = eta_0 |C|^alpha; 0 switches SplitLr off. The paper tries 0 to 2 and finds 0.5 to 1
    best from 8 clients on (Tables 1, 2)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 10.0:
            raise ValueError(f"alpha is {self.alpha}; it must be a number from 0 to 10")


@dataclass(frozen=True, kw_only=True)
class SplitAvg:
    """Settings of `sgl`, and the other half of those of `sglr`."""

    phi: float = 0.5
    """Fraction of the clients that share a gradient in each step; 0 switches SplitAvg off."""
    phases: str = "always"
    """'always', 'initial-60', 'initial-40', 'final-60' or 'final-40' (per cent of the rounds)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.phi <= 1.0:
            raise ValueError(f"phi is {self.phi}; it must be a fraction from 0 to 1")
        in_phase(self.phases, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Both(SplitLr, SplitAvg):
    """Settings of `sglr`."""

    def __post_init__(self) -> None:
        SplitLr.__post_init__(self)
        SplitAvg.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class Sync:
    """Settings of `sfl`."""

    sync: str = "epoch"
    """When heads are averaged: 'epoch' (every `local_epochs` passes) or 'batch'."""

    def __post_init__(self) -> None:
        if self.sync not in ("epoch", "batch"):
            raise ValueError(f"sync is '{self.sync}'; it must be epoch or batch")


def check(options: Any, samples: Mapping[str, int], batch: int) -> None:
    """Refuse unequal shares where SplitAvg needs equal ones. Raises ValueError."""
    if getattr(options, "phi", 0.0) > 0.0:
        check_shares(samples, batch)


def chosen(variant: Variant, options: Any) -> Variant:
    """`variant` with what the user has set (None: nothing)."""
    return dataclasses.replace(variant, **dataclasses.asdict(options)) if options else variant
