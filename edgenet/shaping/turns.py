"""Which links are measured when: those that share nothing side by side, others in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgenet.shaping.asked import Asked, Stream, stream

_MEASURE_S = (0.3, 0.2, 0.12)  # tried in this order until all links fit into the budget
_PINGS = (6, 4, 3)
_MOST_AT_ONCE = 4
_MOST_BPS = 500e6  # through one host at once
_TALK_TRIPS = 3  # round trips between the parts of a turn


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The measuring of one pair of nodes."""

    there: Asked
    """From the leading node to the other."""
    back: Asked
    pings: int
    """Round trips to take the median of."""
    streams: tuple[Stream, Stream]
    """There and back."""

    @property
    def seconds(self) -> float:
        """How long it takes if the network does what was asked."""
        trip_s = self.there.trip_s + self.back.trip_s
        return (self.pings + 2 * _TALK_TRIPS) * trip_s + sum(s.seconds for s in self.streams)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """All turns of one probe."""

    slots: tuple[tuple[Turn, ...], ...]
    """One after the other; the turns of a slot side by side."""
    left_out: tuple[tuple[Asked, Asked], ...]
    """What did not fit into the budget."""


def schedule(pairs: Sequence[tuple[Asked, Asked]], budget_s: float) -> Schedule:
    """Give each pair its turn. With too many pairs the turns become shorter; where that is not
    enough pairs are left out, evenly over all of them."""
    for measure_s, pings in zip(_MEASURE_S, _PINGS, strict=True):
        slots = arranged([_turn(there, back, measure_s, pings) for there, back in pairs])
        if _lasts_s(slots) <= budget_s:
            return Schedule(slots=slots, left_out=())
    kept = list(pairs)
    while kept and _lasts_s(slots) > budget_s:
        step = max(2, math.ceil(_lasts_s(slots) / (_lasts_s(slots) - budget_s)))
        kept = [pair for i, pair in enumerate(kept) if i % step != step - 1] if step <= len(
            kept
        ) else kept[:-1]  # fmt: skip
        slots = arranged([_turn(*pair, _MEASURE_S[-1], _PINGS[-1]) for pair in kept])
    return Schedule(slots=slots, left_out=tuple(pair for pair in pairs if pair not in kept))


def _turn(there: Asked, back: Asked, measure_s: float, pings: int) -> Turn:
    streams = stream(there, back, measure_s), stream(back, there, measure_s)
    return Turn(there=there, back=back, pings=pings, streams=streams)


def _lasts_s(slots: Sequence[Sequence[Turn]]) -> float:
    return sum(max(turn.seconds for turn in slot) for slot in slots)


def arranged(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], ...]:
    """Turns in slots: each in the first in which it disturbs nobody."""
    slots: list[list[Turn]] = []
    for turn in turns:
        fitting = next((slot for slot in slots if _fits(turn, slot)), None)
        if fitting is None:
            slots.append([turn])
        else:
            fitting.append(turn)
    return tuple(map(tuple, slots))


def _fits(turn: Turn, slot: Sequence[Turn]) -> bool:
    taken = frozenset[str]().union(*(other.there.capacities for other in slot))
    rates = sum(min(_fastest(other), _MOST_BPS) for other in (turn, *slot))
    few = len(slot) < _MOST_AT_ONCE and rates <= _MOST_BPS
    return few and not taken & turn.there.capacities


def _fastest(turn: Turn) -> float:
    return max(turn.there.goodput_bps, turn.back.goodput_bps)
