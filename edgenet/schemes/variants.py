"""The schemes of the split learning family: `split.Variant`s, and what a user may set of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgenet.schemes.attendance import Attendance
from edgenet.schemes.averaging import check_shares, in_phase
from edgenet.schemes.bench import Bench, Role, Scheme
from edgenet.schemes.split import client, server
from edgenet.schemes.split_round import Variant


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


def _play_server(base: Variant, bench: Bench) -> None:
    variant, clients = chosen(base, bench.options), bench.links("client")
    tail = bench.tail(lr_factor=len(clients) ** variant.alpha)  # line 3
    head, rounds = bench.head().state() if variant.common_head else [], bench.rounds()
    head = rounds.recall("head", head)
    roll = Attendance(clients, bench.deadline_s, bench.clock)
    server(roll, tail, head, rounds, variant, bench.seed)


def _play_client(base: Variant, bench: Bench) -> None:
    batches, rounds, variant = bench.batches(), bench.rounds(), chosen(base, bench.options)
    head = bench.head()  # line 2
    client(bench.link("server"), head, batches, rounds, bench.local_epochs, variant)


def _scheme(name: str, summary: str, variant: Variant, options: type | None = None) -> Scheme:
    return Scheme(
        name=name,
        summary=f"{summary} (SGLR)",
        roles=(
            Role(name="server", play=partial(_play_server, variant), peers=("client",)),
            Role(
                name="client",
                play=partial(_play_client, variant),
                peers=("server",),
                many=True,
                essential=False,
                returns=True,
                trains_on=True,
            ),
        ),
        options=options,
        cuts=True,
        check=check,
    )


_PSL = Variant()
SPLIT = (
    _scheme(
        "ssl", "split learning, one client after the other", Variant(sync="epoch", in_turn=True)
    ),
    _scheme(
        "psl", "parallel split learning: clients hold the lower layers, a server the upper", _PSL
    ),
    _scheme("sfl", "psl whose heads are averaged", _PSL, Sync),
    _scheme("slr", "psl whose server learns faster", _PSL, SplitLr),
    _scheme("sgl", "psl with a gradient that some clients share", _PSL, SplitAvg),
    _scheme("sglr", "psl with both, a faster server and a shared gradient", _PSL, Both),
)
"""The family."""
