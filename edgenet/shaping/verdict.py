"""Asked against measured: the rows of a probe, and what is wrong with them. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgenet.shaping.asked import KERNEL, Asked
from edgenet.units import format_fraction, format_rate, format_time

ROUND_TRIP_S = 2e-3
"""A round trip may always be off by this: twice the 1 ms that the back ends are held to."""
PACED_ROUND_TRIP_S = 4e-3
"""... under pacing, whose timers are the interpreter's."""
JITTER_S = 1e-3
"""The jitter may always be off by this."""
SIGMAS = 3.3
"""What chance explains is no deviation: one of a thousand right links exceeds it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One direction of one link."""

    source: str
    target: str
    over: str
    """Links on the way."""
    asked: Mapping[str, float | None]
    """rate_bps (of the channel), goodput_bps, round_trip_s, jitter_s, round_trip_jitter_s (of both
    ways), loss; None: not limited."""
    measured: Mapping[str, float | None]
    """goodput_bps, round_trip_s, jitter_s, loss, packets_bps; None: not measured."""
    packets: Mapping[str, int] = field(default_factory=dict)
    """How many the jitter and the loss were taken from."""
    off: tuple[str, ...] = ()
    """Which figures deviate: goodput_bps, ..."""
    note: str = ""
    """Why something was not measured."""

    def fields(self) -> dict[str, Any]:
        """For JSON; `row(fields)` is the way back."""
        return asdict(self)


def row(fields: Mapping[str, Any]) -> Row:
    """A row from its `fields`."""
    known = {name: fields[name] for name in Row.__dataclass_fields__ if name in fields}
    return Row(**known | {"off": tuple(fields.get("off", ()))})


def blank(there: Asked, back: Asked) -> Row:
    """The row of a direction of which nothing is measured yet."""
    limited = {
        "rate_bps": there.channel.rate_bps,
        "goodput_bps": there.goodput_bps,
        "round_trip_s": there.trip_s + back.trip_s,
        "jitter_s": there.jitter_s,
        "round_trip_jitter_s": there.jitter_s + back.jitter_s,
        "loss": there.loss,
    }
    return Row(
        source=there.source,
        target=there.target,
        over=" + ".join(there.over),
        asked={key: value if math.isfinite(value) else None for key, value in limited.items()},
        measured=dict.fromkeys(("goodput_bps", "round_trip_s", "jitter_s", "loss", "packets_bps")),
    )


def judged(each: Row, back_end: str, tolerance: float) -> Row:
    """The row with what deviates marked. Nothing does where nothing shapes."""
    if each.note or back_end not in (*KERNEL, "paced"):
        return replace(each, off=())
    limits = _limits(each, back_end, tolerance)
    if each.asked["loss"] and back_end in KERNEL and each.measured["packets_bps"] is None:
        del limits["goodput_bps"]  # what TCP makes of losses is not the link's rate
    off = tuple(
        key
        for key, most in limits.items()
        if (asked := each.asked.get(key)) is not None
        and (found := each.measured.get(_taken_from(key, each))) is not None
        and abs(found - _target(key, each, asked)) > most
    )
    return replace(each, off=off)


def closest(asked: float, found: Iterable[float]) -> float:
    """Of several measurements the one nearest to what was asked: what a busy host did to the
    others does not count, and a link that is wrong does not measure right by accident."""
    return min(found, key=lambda value: abs(value - asked)) if math.isfinite(asked) else max(found)


def refusal(rows: Sequence[Row], tolerance: float) -> str:
    """Why these links are not to be trained on, in one sentence; empty if they are."""
    wrong = [each for each in rows if each.off]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda each: max(_part(each, key) for key in each.off))
    more = len(wrong) - 1
    also = "" if not more else f" (and {more} more {'ways' if more > 1 else 'way'})"
    return (
        f"link '{worst.over}' from {worst.source} to {worst.target} is not what was asked: "
        f"{', '.join(_words(worst, key) for key in worst.off)}{also}; run it on a host "
        f"with less other work, allow more than {format_fraction(tolerance)} with "
        "--probe-tolerance, or train all the same with --no-probe"
    )


def _limits(each: Row, back_end: str, tolerance: float) -> dict[str, float]:
    asked = {key: value or 0.0 for key, value in each.asked.items()}
    round_trip_s = PACED_ROUND_TRIP_S if back_end == "paced" else ROUND_TRIP_S
    jitter = each.packets.get("jitter_s", 0)
    losses = max(1, each.packets.get("loss", 1))
    chance = SIGMAS * math.sqrt(asked["loss"] * (1 - asked["loss"]) / losses)
    rate = asked[_asked_for(each)]
    return {
        "goodput_bps": tolerance * rate,
        # Of several packets of a message the last one counts, so jitter makes round trips longer.
        "round_trip_s": tolerance * asked["round_trip_s"]
        + round_trip_s
        + asked["round_trip_jitter_s"],
        # The quantiles that it is taken from have this standard error.
        "jitter_s": asked["jitter_s"] * (tolerance + SIGMAS * 0.5 / math.sqrt(max(1, jitter)))
        + JITTER_S,
        "loss": tolerance * asked["loss"] + chance + 1.5 / losses,
    }


def _asked_for(each: Row) -> str:
    """Over a lossy way TCP's rate says nothing about the link's: packets are held to its rate."""
    return "rate_bps" if each.measured.get("packets_bps") is not None else "goodput_bps"


def _taken_from(key: str, each: Row) -> str:
    lossy = key == "goodput_bps" and _asked_for(each) == "rate_bps"
    return "packets_bps" if lossy else key


def _target(key: str, each: Row, asked: float) -> float:
    return (each.asked[_asked_for(each)] or 0.0) if key == "goodput_bps" else asked


def _part(each: Row, key: str) -> float:
    asked = _target(key, each, each.asked[key] or 0.0)
    found = each.measured[_taken_from(key, each)] or 0.0
    return abs(found - asked) / asked if asked else math.inf


_SHOWN = {
    "goodput_bps": ("rate", format_rate),
    "round_trip_s": ("round trip", format_time),
    "jitter_s": ("jitter", format_time),
    "loss": ("loss", format_fraction),
}


def _words(each: Row, key: str) -> str:
    name, show = _SHOWN[key]
    asked = _target(key, each, each.asked[key] or 0.0)
    return (
        f"{name} asked {show(asked)}, measured {show(each.measured[_taken_from(key, each)] or 0)}"
    )
